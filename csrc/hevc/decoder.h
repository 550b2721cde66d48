// The syntax decoder: NAL units in, pictures with motion and residual out.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "codec/nal_decoder.h"
#include "hevc/picture_source.h"
#include "hevc/picture_task.h"

namespace ove::hevc {

class SyntaxDecoder final : public codec::NalDecoder {
 public:
  explicit SyntaxDecoder(codec::DecoderOptions options = {});

  // hvcC (ISO/IEC 14496-15, 8.3.3.1), or Annex B.
  void set_extradata(std::span<const std::uint8_t> extradata) override;
  bool started() const override { return source_->started(); }

 private:
  void finish() override;
  void abandon() override;

  void decode_nal(const NalUnit& unit, const codec::AccessUnitTag& tag, std::int64_t position) override;
  void decode_slice(const NalUnit& unit, const NalContext& nal);
  void begin_picture(const SliceHeader& header, const NalContext& nal, std::shared_ptr<const ActiveSets> sets);
  void finish_picture();
  std::shared_ptr<const CodecPicture> add_slice(const SliceHeader& header);
  void show_due();

  std::unique_ptr<PictureSource> source_;
  std::unique_ptr<PictureTask> task_;  // of the current picture
  bool output_current_ = false;
  std::int64_t decode_index_ = 0;  // of the next picture
};

}  // namespace ove::hevc
