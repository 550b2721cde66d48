#include "reader/codecs.h"

#include <stdexcept>
#include <utility>

#include "bitstream/nal.h"
#include "h264/configuration.h"
#include "h264/decoder.h"
#include "h264/nal_unit.h"
#include "hevc/configuration.h"
#include "hevc/decoder.h"
#include "hevc/nal_unit_type.h"

namespace ove::reader {

namespace {

using Marks = bool (*)(std::span<const std::uint8_t> nal_unit);
using Framing = NalFraming (*)(std::span<const std::uint8_t> extradata);

class NalFilter final : public media::PacketFilter {
 public:
  NalFilter(Framing framing_of, Marks outlasts_picture)
      : framing_of_(framing_of), outlasts_picture_(outlasts_picture) {}

  void set_extradata(std::span<const std::uint8_t> extradata) override { framing_ = framing_of_(extradata); }

  std::vector<std::uint8_t> without_picture(std::span<const std::uint8_t> packet) const override {
    std::vector<std::uint8_t> kept;
    for (const NalUnit& unit : framing_.split(packet)) {
      if (outlasts_picture_(unit.bytes)) framing_.append(unit.bytes, kept);
    }
    return kept;
  }

  std::vector<std::uint8_t> packet_of(
      std::span<const std::shared_ptr<const std::vector<std::uint8_t>>> parameter_sets) const override {
    std::vector<std::uint8_t> packet;
    for (const auto& nal_unit : parameter_sets) framing_.append(*nal_unit, packet);
    return packet;
  }

 private:
  Framing framing_of_;
  NalFraming framing_;
  Marks outlasts_picture_;
};

// H.266 7.3.1.2: parameter sets of the base layer and the lowest temporal sub-layer. H.265 reads such a header as a
// slice of an enhancement layer, H.264 as one of an unspecified type.
bool marks_h266(std::span<const std::uint8_t> nal_unit) {
  if (nal_unit.size() < 3 || nal_unit[0] != 0 || (nal_unit[1] & 7) != 1) return false;
  const int type = nal_unit[1] >> 3;
  return type >= 14 && type <= 16;
}

}  // namespace

bool decodes(const std::string& codec) { return codec == "hevc" || codec == "h264"; }

std::unique_ptr<codec::Decoder> make_decoder(const std::string& codec, codec::DecoderOptions options) {
  if (codec == "hevc") return std::make_unique<hevc::SyntaxDecoder>(std::move(options));
  if (codec == "h264") return std::make_unique<h264::SyntaxDecoder>(std::move(options));
  throw std::invalid_argument("there is no syntax decoder for " + codec);
}

std::shared_ptr<media::PacketFilter> make_packet_filter(const std::string& codec,
                                                        std::span<const std::uint8_t> extradata) {
  std::shared_ptr<NalFilter> filter;
  if (codec == "hevc") {
    filter = std::make_shared<NalFilter>(
        [](std::span<const std::uint8_t> record) { return hevc::parse_configuration(record).framing; },
        hevc::outlasts_picture);
  } else if (codec == "h264") {
    filter = std::make_shared<NalFilter>(
        [](std::span<const std::uint8_t> record) { return h264::parse_configuration(record).framing; },
        h264::outlasts_picture);
  }
  if (filter) filter->set_extradata(extradata);
  return filter;
}

std::string sniff_byte_stream(std::span<const std::uint8_t> head) {
  if (!begins_with_start_code(head)) return {};
  int hevc = 0, h264 = 0, h266 = 0;
  for (const NalUnit& unit : NalFraming().split(head)) {
    if (unit.bytes[0] & 0x80) return {};  // forbidden_zero_bit: MPEG-1, MPEG-2 and MPEG-4 headers have it set
    hevc += hevc::marks_stream(unit.bytes);
    h264 += h264::marks_stream(unit.bytes);
    h266 += marks_h266(unit.bytes);
  }
  if (h266 >= 2 && hevc == 0 && h264 == 0) return "vvc";
  return hevc == h264 ? "" : hevc > h264 ? "hevc" : "h264";
}

}  // namespace ove::reader
