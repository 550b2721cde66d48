// The work that one picture is: parsing its slice data, then deriving its motion.
#pragma once

#include <memory>
#include <vector>

#include "hevc/picture.h"
#include "hevc/prediction_unit.h"
#include "hevc/slice_header.h"

namespace ove::hevc {

struct SliceSegment {
  SliceHeader header;
  std::uint16_t slice_idx = 0;
  std::vector<std::uint8_t> rbsp;  // of the NAL unit, from its header on
  std::size_t data_begin = 0;      // first byte of slice_segment_data() in rbsp
  std::int64_t position = -1;      // of the NAL unit in the source
};

class PictureTask {
 public:
  // `pools` give the picture its buffers when parsing begins.
  PictureTask(std::shared_ptr<CodecPicture> picture, std::shared_ptr<const Pps> pps,
              std::shared_ptr<const TileLayout> tiles, BufferPools pools)
      : picture_(std::move(picture)), pps_(std::move(pps)), tiles_(std::move(tiles)), pools_(std::move(pools)) {}

  const std::shared_ptr<CodecPicture>& picture() const { return picture_; }
  const std::shared_ptr<const Pps>& pps() const { return pps_; }
  const SliceHeader* last_header() const { return segments_.empty() ? nullptr : &segments_.back().header; }
  std::size_t num_segments() const { return segments_.size(); }
  bool has_work() const { return picture_->detail != Detail::kHeaders; }

  // `collocated` is the picture that the slice's temporal prediction reads, null without it.
  void add(SliceSegment segment, std::shared_ptr<const CodecPicture> collocated);

  // Independent of every other picture. Throws with the position of the segment at fault.
  void parse();

  // After parse() of this picture and derive_motion() of its collocated pictures.
  void derive_motion();

 private:
  std::shared_ptr<CodecPicture> picture_;
  std::shared_ptr<const Pps> pps_;
  std::shared_ptr<const TileLayout> tiles_;
  BufferPools pools_;
  std::vector<SliceSegment> segments_;
  std::vector<std::shared_ptr<const CodecPicture>> collocated_;  // by segment
  std::vector<std::vector<PredictionUnit>> units_;               // by segment
};

// Throws `error` again with a position, unless it has one.
[[noreturn]] void rethrow_at(const Error& error, std::int64_t position);

}  // namespace ove::hevc
