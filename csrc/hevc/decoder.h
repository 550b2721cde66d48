// The syntax decoder: NAL units in, pictures with motion and residual out.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "bitstream/nal.h"
#include "hevc/dpb.h"
#include "hevc/limits.h"
#include "hevc/picture_task.h"

namespace ove::hevc {

enum class Order : std::uint8_t { kDisplay, kDecoding };

// How much of a picture to decode.
enum class Detail : std::uint8_t { kHeaders, kMotion, kResidual };

struct DecoderOptions {
  Order order = Order::kDisplay;
  // By the tag of the access unit. kHeaders is refused with InvalidArgument where a later picture needs the motion.
  std::function<Detail(std::int64_t tag)> detail = [](std::int64_t) { return Detail::kResidual; };
  Limits limits;
};

class SyntaxDecoder final : private ParameterSetSource {
 public:
  explicit SyntaxDecoder(DecoderOptions options = {});

  // Out-of-band parameter sets: hvcC (ISO/IEC 14496-15, 8.3.3.1), which also says how packets are framed, or Annex B.
  void set_extradata(std::span<const std::uint8_t> extradata);

  // One packet, which holds whole NAL units. `tag` names it on the pictures that begin in it, `position` is its byte
  // offset in the source. After an exception the decoder may only be drained with pop().
  void decode(std::span<const std::uint8_t> packet, std::int64_t tag, std::int64_t position);

  // End of the stream: completes the last picture and releases every picture that waits.
  void flush();

  // Next picture, null if none is ready.
  std::shared_ptr<const CodecPicture> pop();

  // Whether a picture was found from which decoding could start.
  bool started() const { return active_sps_ != nullptr; }

 private:
  struct NalContext {
    NalUnitType type;
    int temporal_id;
    std::int64_t tag, position;
  };

  ParameterSetPair activate(int pps_id, NalUnitType type, bool first_slice_segment) override;
  void decode_nal(const NalUnit& unit, std::int64_t tag, std::int64_t position);
  void decode_slice(const NalUnit& unit, const NalContext& nal);
  void begin_picture(const SliceHeader& header, const NalContext& nal);
  void finish_picture();
  std::shared_ptr<const CodecPicture> add_slice(const SliceHeader& header);
  int picture_order_count(const SliceHeader& header, const NalContext& nal, bool new_sequence);
  bool starts_sequence(NalUnitType type) const;

  DecoderOptions options_;
  int nal_length_size_ = 0;  // 0: Annex B
  std::array<std::shared_ptr<const Sps>, 16> sps_;
  std::array<std::shared_ptr<const Pps>, 64> pps_;
  std::shared_ptr<const Sps> active_sps_;
  std::shared_ptr<BufferPool> pool_ = std::make_shared<BufferPool>();
  Dpb dpb_;
  std::deque<std::shared_ptr<const CodecPicture>> decoded_;  // in kDecoding order

  // of the current picture
  std::optional<PictureTask> task_;
  ReferencePictureSet rps_;
  bool output_current_ = false;
  // the layout in use, kept while the parameter sets stay the same objects
  std::shared_ptr<const TileLayout> tiles_;
  std::shared_ptr<const Sps> tiles_sps_;
  std::shared_ptr<const Pps> tiles_pps_;

  bool expect_sequence_ = true;  // at the start and after an end of sequence
  bool skip_rasl_ = false;       // NoRaslOutputFlag of the last IRAP picture
  int prev_tid0_poc_ = 0;        // PicOrderCntVal of prevTid0Pic
  std::int64_t decode_index_ = 0;
};

}  // namespace ove::hevc
