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
#include "hevc/task_queue.h"

namespace ove::hevc {

enum class Order : std::uint8_t { kDisplay, kDecoding };

// What an earlier reading of the headers found of a picture: enough to decode it without the pictures before it that it
// does not refer to.
struct KnownPicture {
  NalUnitType nal_unit_type = NalUnitType::kTrailN;
  std::shared_ptr<const Sps> sps;
  std::shared_ptr<const Pps> pps;
  int poc = 0;
  bool clears_dpb = false;  // neither it nor any later picture that is given refers to an earlier one
  Detail detail = Detail::kResidual;
};

struct DecoderOptions {
  Order order = Order::kDisplay;
  int threads = 1;
  // How much of the picture of an access unit is wanted. Where a picture's motion is derived from another's, that one
  // needs motion too.
  std::function<Detail(const AccessUnitTag&)> detail = [](const AccessUnitTag&) { return Detail::kResidual; };
  // If set, only some pictures of the stream are decoded: those that it knows when they begin, null for the others. It
  // stands for `detail` and for parameter sets, which are not looked at. Packets may be left out that hold no such
  // picture. In kDecoding order only, because output order needs every picture.
  std::function<const KnownPicture*(const AccessUnitTag&)> known;
  // Sees every picture that is decoded, in decoding order, when its headers are read.
  std::function<void(const CodecPicture&)> observe;
  // Sees every picture with more than headers when it is decoded, in any order and on several threads at a time.
  TaskQueue::Process process;
  Limits limits;
};

class SyntaxDecoder final : private ParameterSetSource {
 public:
  explicit SyntaxDecoder(DecoderOptions options = {});

  // Out-of-band parameter sets: hvcC (ISO/IEC 14496-15, 8.3.3.1), which also says how packets are framed, or Annex B.
  void set_extradata(std::span<const std::uint8_t> extradata);

  // One packet, which holds whole NAL units; `position` is its byte offset in the source. Errors come out of pop().
  void decode(std::span<const std::uint8_t> packet, const AccessUnitTag& tag, std::int64_t position);

  // End of the stream: completes the last picture and releases every picture that waits.
  void flush();

  // Next picture, null if more input is wanted first. Its residual stays as long as what is returned, even where the
  // decoder keeps the picture for others. After damage, the pictures that precede it in decoding order come
  // out, then the exception, then nothing.
  std::shared_ptr<const CodecPicture> pop();

  // Nothing more can be decoded.
  bool failed() const { return failed_; }

  // Whether a picture was found from which decoding could start.
  bool started() const { return active_sps_ != nullptr; }

 private:
  struct NalContext {
    NalUnitType type;
    int temporal_id;
    AccessUnitTag tag;
    std::int64_t position;
  };

  ParameterSetPair activate(int pps_id, NalUnitType type, bool first_slice_segment) override;
  void decode_nal(const NalUnit& unit, const AccessUnitTag& tag, std::int64_t position);
  void take_parameter_set(const NalUnit& unit, NalUnitType type);
  void decode_slice(const NalUnit& unit, const NalContext& nal);
  void begin_picture(const SliceHeader& header, const NalContext& nal);
  void finish_picture();
  std::shared_ptr<const CodecPicture> add_slice(const SliceHeader& header);
  void fail(std::exception_ptr error);
  int picture_order_count(const SliceHeader& header, const NalContext& nal, bool new_sequence);
  bool starts_sequence(NalUnitType type) const;

  DecoderOptions options_;
  int nal_length_size_ = 0;  // 0: Annex B
  std::array<std::shared_ptr<const std::vector<std::uint8_t>>, 16> vps_;
  std::array<std::shared_ptr<const Sps>, 16> sps_;
  std::array<std::shared_ptr<const Pps>, 64> pps_;
  std::shared_ptr<const Sps> active_sps_;
  BufferPools pools_;
  TaskQueue tasks_;
  Dpb dpb_;
  std::deque<std::shared_ptr<CodecPicture>> decoded_;  // in kDecoding order

  // of the current picture
  std::optional<PictureTask> task_;
  const KnownPicture* known_ = nullptr;
  ReferencePictureSet rps_;
  bool output_current_ = false;
  // the layout in use, kept while the parameter sets stay the same objects
  std::shared_ptr<const TileLayout> tiles_;
  std::shared_ptr<const Sps> tiles_sps_;
  std::shared_ptr<const Pps> tiles_pps_;

  bool expect_sequence_ = true;    // at the start and after an end of sequence
  bool skip_rasl_ = false;         // NoRaslOutputFlag of the last IRAP picture
  int prev_tid0_poc_ = 0;          // PicOrderCntVal of prevTid0Pic
  std::int64_t decode_index_ = 0;  // of the next picture
  std::int64_t submitted_ = 0;     // pictures given to tasks_
  bool failed_ = false, flushed_ = false;
  std::exception_ptr failure_;  // of a header; those of slice data lie with tasks_
};

}  // namespace ove::hevc
