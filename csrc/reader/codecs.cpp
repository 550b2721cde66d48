#include "reader/codecs.h"

#include <stdexcept>
#include <utility>

#include "bitstream/nal.h"
#include "h264/configuration.h"
#include "h264/decoder.h"
#include "h264/nal_unit.h"
#include "h264/pixel_units.h"
#include "hevc/configuration.h"
#include "hevc/decoder.h"
#include "hevc/nal_unit_type.h"
#include "hevc/pixel_units.h"
#include "reader/nal_filter.h"

namespace ove::reader {

namespace {

// H.266 7.3.1.2: parameter sets of the base layer and the lowest temporal sub-layer. H.265 reads such a header as a
// slice of an enhancement layer, H.264 as one of an unspecified type.
bool marks_h266(std::span<const std::uint8_t> nal_unit) {
  if (nal_unit.size() < 3 || nal_unit[0] != 0 || (nal_unit[1] & 7) != 1) return false;
  const int type = nal_unit[1] >> 3;
  return type >= 14 && type <= 16;
}

NalFraming framing_hevc(NalBytes extradata) { return hevc::parse_configuration(extradata).framing; }
NalFraming framing_h264(NalBytes extradata) { return h264::parse_configuration(extradata).framing; }

}  // namespace

bool decodes(const std::string& codec) { return codec == "hevc" || codec == "h264"; }

bool names_what_precedes(const std::string& codec) { return codec == "h264"; }

std::unique_ptr<codec::Decoder> make_decoder(const std::string& codec, codec::DecoderOptions options) {
  if (codec == "hevc") return std::make_unique<hevc::SyntaxDecoder>(std::move(options));
  if (codec == "h264") return std::make_unique<h264::SyntaxDecoder>(std::move(options));
  throw std::invalid_argument("there is no syntax decoder for " + codec);
}

std::shared_ptr<media::PacketFilter> make_packet_filter(const std::string& codec,
                                                        std::span<const std::uint8_t> extradata) {
  std::shared_ptr<NalFilter> filter;
  if (codec == "hevc")
    filter = std::make_shared<NalFilter>(framing_hevc, hevc::outlasts_picture, hevc::is_supplementary, hevc::for_pixels,
                                         hevc::record_for_pixels);
  if (codec == "h264")
    filter = std::make_shared<NalFilter>(framing_h264, h264::outlasts_picture, h264::is_supplementary, h264::for_pixels,
                                         nullptr);
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
