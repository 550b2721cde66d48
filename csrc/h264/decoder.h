// The syntax decoder: NAL units in, pictures with motion and residual out.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "codec/nal_decoder.h"
#include "h264/picture_source.h"
#include "h264/picture_task.h"

namespace ove::h264 {

class SyntaxDecoder final : public codec::NalDecoder {
 public:
  explicit SyntaxDecoder(codec::DecoderOptions options = {});

  // avcC (ISO/IEC 14496-15, 5.3.3.1), or Annex B.
  void set_extradata(std::span<const std::uint8_t> extradata) override;
  bool started() const override { return source_->started(); }

 private:
  void finish() override;
  void abandon() override;

  void decode_nal(const NalUnit& unit, const codec::AccessUnitTag& tag, std::int64_t position) override;
  std::shared_ptr<const ActiveSets> read_header(NalHeader nal, const codec::AccessUnitTag& tag, SliceContext& slice);
  void decode_slice(const NalUnit& unit, NalHeader nal, const codec::AccessUnitTag& tag, std::int64_t position);
  bool is_second_field(const SliceHeader& header) const;
  void begin_picture(const SliceHeader& header, std::shared_ptr<const ActiveSets> sets, const codec::AccessUnitTag& tag,
                     bool second);
  void add_slice(SliceContext context);
  void finish_picture(bool before_second = false);
  ShownFrame make_shown(bool before_second) const;
  void show_due();

  bool as_coded() const { return options().as_coded && options().order == codec::Order::kDecoding; }

  std::unique_ptr<PictureSource> source_;
  std::unique_ptr<PictureTask> task_;  // of the current picture
  std::shared_ptr<const ActiveSets> last_sets_;
  std::shared_ptr<CodedPicture> first_field_;  // of the current picture, which is the second field of its frame
  codec::Detail shown_detail_;                 // that is wanted of the current frame
  std::int64_t decode_index_ = 0;              // of the next picture
};

}  // namespace ove::h264
