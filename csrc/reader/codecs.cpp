#include "reader/codecs.h"

#include <algorithm>
#include <array>
#include <optional>
#include <stdexcept>
#include <utility>

#include "bitstream/nal.h"
#include "common/error.h"
#include "hevc/configuration.h"
#include "hevc/decoder.h"
#include "hevc/nal_unit_type.h"
#include "hevc/parameter_sets.h"

namespace ove::reader {

namespace {

using NalBytes = std::span<const std::uint8_t>;
using Marks = bool (*)(NalBytes nal_unit);
// What the pixel decoder is given for a NAL unit: the unit itself, another one, or nothing where it is empty.
using Replace = std::vector<std::uint8_t> (*)(NalBytes nal_unit);

class NalFilter final : public media::PacketFilter {
 public:
  // `replaced` marks the NAL units that `replace` is asked for.
  NalFilter(NalFraming framing, Marks outlasts_picture, Marks replaced, Replace replace)
      : framing_(framing), outlasts_picture_(outlasts_picture), replaced_(replaced), replace_(replace) {}

  std::optional<std::vector<std::uint8_t>> for_pixels(NalBytes packet) const override {
    std::vector<NalUnit> units;
    try {
      units = framing_.split(packet);
    } catch (const Error&) {
      return std::nullopt;  // the decoder tells what is wrong
    }
    const auto replaced = [&](const NalUnit& unit) { return replaced_(unit.bytes); };
    if (std::none_of(units.begin(), units.end(), replaced)) return std::nullopt;
    std::vector<std::uint8_t> kept;
    for (const NalUnit& unit : units) {
      if (!replaced(unit)) {
        framing_.append(unit.bytes, kept);
      } else if (const std::vector<std::uint8_t> other = replace_(unit.bytes); !other.empty()) {
        framing_.append(other, kept);
      }
    }
    return kept;
  }

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
  NalFraming framing_;
  Marks outlasts_picture_, replaced_;
  Replace replace_;
};

// H.265 table 7-1: VPS, SPS, PPS, and SEI before and behind a picture.
bool replaced_hevc(NalBytes nal_unit) {
  const int type = nal_unit[0] >> 1 & 0x3F;
  return (type >= 32 && type <= 34) || type == 39 || type == 40;
}

// Whether an SPS or PPS of the base layer can be read; of those of other layers libavcodec takes no note.
bool readable(NalBytes nal_unit, bool sps) {
  if (nal_unit.size() < 2 || (nal_unit[0] & 1) != 0 || nal_unit[1] >> 3 != 0) return true;
  try {
    const std::vector<std::uint8_t> rbsp = to_rbsp(nal_unit.subspan(2));
    if (sps) {
      hevc::parse_sps(rbsp, codec::Limits());
    } else {
      hevc::parse_pps(rbsp);
    }
  } catch (const InvalidBitstreamError&) {
    return false;
  } catch (const Error&) {
    // What this library does not support libavcodec may.
  }
  return true;
}

// libavcodec wants a VPS of the number that the SPS names, and takes nothing from it: one of a single layer of the Main
// profile stands for all. The same bytes always, as a changed VPS makes it forget the SPS.
std::vector<std::uint8_t> replace_hevc(NalBytes nal_unit) {
  const int type = nal_unit[0] >> 1 & 0x3F;
  if (type == 33 || type == 34) {
    return readable(nal_unit, type == 33) ? std::vector<std::uint8_t>(nal_unit.begin(), nal_unit.end())
                                          : std::vector<std::uint8_t>();
  }
  if (type != 32 || nal_unit.size() < 3) return {};
  const int id = nal_unit[2] >> 4;
  std::vector<std::uint8_t> vps = {0x40, 0x01, 0x0C, 0x01, 0xFF, 0xFF, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00,
                                   0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00, 0x5D, 0xF0, 0x24};
  vps[2] = static_cast<std::uint8_t>(vps[2] | id << 4);
  return vps;
}

// Where parameter sets lie beside the packets (hvcC), those stay, and a VPS in a packet adds nothing.
std::vector<std::uint8_t> replace_hevc_beside(NalBytes nal_unit) {
  return (nal_unit[0] >> 1 & 0x3F) == 32 ? std::vector<std::uint8_t>() : replace_hevc(nal_unit);
}

// H.264 7.3.1: SEI
bool replaced_h264(NalBytes nal_unit) { return (nal_unit[0] & 0x1F) == 6; }

// H.264 7.3.2.3.1: keeps SEI that has a recovery point, where decoding may begin, or user data, by which libavcodec
// knows encoders with defects, if its messages end where they say.
std::vector<std::uint8_t> replace_h264(NalBytes nal_unit) {
  const std::vector<std::uint8_t> rbsp = to_rbsp(nal_unit.subspan(1));
  std::size_t end = rbsp.size();
  while (end > 0 && rbsp[end - 1] == 0) --end;
  if (end == 0 || rbsp[end - 1] != 0x80) return {};
  --end;
  bool needed = false;
  for (std::size_t at = 0; at < end;) {
    std::array<std::size_t, 2> type_and_size{};
    for (std::size_t& value : type_and_size) {
      for (; at < end && rbsp[at] == 0xFF; ++at) value += 0xFF;
      if (at == end) return {};
      value += rbsp[at++];
    }
    if (type_and_size[1] > end - at) return {};
    needed |= type_and_size[0] == 5 || type_and_size[0] == 6;
    at += type_and_size[1];
  }
  return needed ? std::vector<std::uint8_t>(nal_unit.begin(), nal_unit.end()) : std::vector<std::uint8_t>();
}

// H.264 7.4.1: parameter sets of every kind, ends of sequence and stream.
bool outlasts_h264(NalBytes nal_unit) {
  const int type = nal_unit[0] & 0x1F;
  return type == 7 || type == 8 || type == 10 || type == 11 || type == 13 || type == 15;
}

// Of packets in the form that an AVCDecoderConfigurationRecord (ISO/IEC 14496-15) tells; of Annex B without one.
NalFraming framing_h264(NalBytes extradata) {
  return extradata.size() > 4 && extradata[0] == 1 ? NalFraming((extradata[4] & 3) + 1) : NalFraming();
}

// H.264 7.3.1: parameter sets and IDR slices with a nal_ref_idc, delimiters without. SEI reads like an H.265 picture of
// a higher temporal sub-layer (TSA_R).
bool marks_h264(std::span<const std::uint8_t> nal_unit) {
  if (nal_unit.size() < 2 || (nal_unit[0] & 0x80)) return false;
  const int type = nal_unit[0] & 0x1f, ref_idc = nal_unit[0] >> 5;
  if (type == 5 || type == 7 || type == 8) return ref_idc != 0;
  return ref_idc == 0 && type == 9 && (nal_unit[1] & 0x1f) == 0x10;
}

}  // namespace

bool decodes(const std::string& codec) { return codec == "hevc"; }

std::unique_ptr<codec::Decoder> make_decoder(const std::string& codec, codec::DecoderOptions options) {
  if (codec == "hevc") return std::make_unique<hevc::SyntaxDecoder>(std::move(options));
  throw std::invalid_argument("there is no syntax decoder for " + codec);
}

std::shared_ptr<const media::PacketFilter> make_packet_filter(const std::string& codec,
                                                              std::span<const std::uint8_t> extradata) {
  if (codec == "h264") {
    return std::make_shared<NalFilter>(framing_h264(extradata), outlasts_h264, replaced_h264, replace_h264);
  }
  if (codec != "hevc") return nullptr;
  const hevc::Configuration configuration = hevc::parse_configuration(extradata);
  const bool beside = !extradata.empty() && !begins_with_start_code(extradata) && !configuration.nal_units.empty();
  return std::make_shared<NalFilter>(configuration.framing, hevc::outlasts_picture, replaced_hevc,
                                     beside ? replace_hevc_beside : replace_hevc);
}

std::string sniff_byte_stream(std::span<const std::uint8_t> head) {
  if (!begins_with_start_code(head)) return {};
  int hevc = 0, h264 = 0;
  for (const NalUnit& unit : NalFraming().split(head)) {
    if (unit.bytes[0] & 0x80) return {};  // forbidden_zero_bit: MPEG-1, MPEG-2 and MPEG-4 headers have it set
    hevc += hevc::marks_stream(unit.bytes);
    h264 += marks_h264(unit.bytes);
  }
  return hevc == h264 ? "" : hevc > h264 ? "hevc" : "h264";
}

}  // namespace ove::reader
