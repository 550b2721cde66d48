// The work that one picture is: parsing its slice segments, then deriving its motion.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "codec/picture_task.h"
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
  std::shared_ptr<const CodecPicture> collocated;  // that its temporal prediction reads, null without it
};

class PictureTask final : public codec::PictureTask {
 public:
  // `pools` give the picture its buffers when parsing begins.
  PictureTask(std::shared_ptr<CodecPicture> picture, std::shared_ptr<const ActiveSets> sets, codec::BufferPools pools)
      : codec::PictureTask(std::move(picture)), sets_(std::move(sets)), pools_(std::move(pools)) {}

  const std::shared_ptr<const ActiveSets>& sets() const { return sets_; }
  const SliceHeader* last_header() const { return segments_.empty() ? nullptr : &segments_.back().header; }
  std::size_t num_segments() const { return segments_.size(); }

  void add(SliceSegment segment) { segments_.push_back(std::move(segment)); }

  void parse() override;
  void derive_motion() override;

 private:
  std::shared_ptr<const ActiveSets> sets_;
  codec::BufferPools pools_;
  std::vector<SliceSegment> segments_;
  std::vector<std::vector<PredictionUnit>> units_;  // by segment
};

}  // namespace ove::hevc
