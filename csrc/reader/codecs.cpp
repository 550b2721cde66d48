#include "reader/codecs.h"

#include <algorithm>
#include <array>
#include <optional>
#include <stdexcept>
#include <utility>

#include "bitstream/nal.h"
#include "common/error.h"
#include "h264/configuration.h"
#include "h264/decoder.h"
#include "h264/nal_unit.h"
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
  // What the extradata of a stream tells: how its packets are framed, and which rule they are given by.
  struct Rules {
    NalFraming framing;
    Replace replace;
  };
  using RulesOf = Rules (*)(NalBytes extradata);

  // `replaced` marks the NAL units that are replaced.
  NalFilter(RulesOf rules_of, Marks outlasts_picture, Marks replaced)
      : rules_of_(rules_of), outlasts_picture_(outlasts_picture), replaced_(replaced) {}

  void set_extradata(NalBytes extradata) override { rules_ = rules_of_(extradata); }

  std::optional<std::vector<std::uint8_t>> for_pixels(NalBytes packet) const override {
    std::vector<NalUnit> units;
    try {
      units = rules_.framing.split(packet);
    } catch (const Error&) {
      return std::nullopt;  // the decoder tells what is wrong
    }
    const auto replaced = [&](const NalUnit& unit) { return replaced_(unit.bytes); };
    if (std::none_of(units.begin(), units.end(), replaced)) return std::nullopt;
    std::vector<std::uint8_t> kept;
    for (const NalUnit& unit : units) {
      if (!replaced(unit)) {
        rules_.framing.append(unit.bytes, kept);
      } else if (const std::vector<std::uint8_t> other = rules_.replace(unit.bytes); !other.empty()) {
        rules_.framing.append(other, kept);
      }
    }
    return kept;
  }

  std::vector<std::uint8_t> without_picture(std::span<const std::uint8_t> packet) const override {
    std::vector<std::uint8_t> kept;
    for (const NalUnit& unit : rules_.framing.split(packet)) {
      if (outlasts_picture_(unit.bytes)) rules_.framing.append(unit.bytes, kept);
    }
    return kept;
  }

  std::vector<std::uint8_t> packet_of(
      std::span<const std::shared_ptr<const std::vector<std::uint8_t>>> parameter_sets) const override {
    std::vector<std::uint8_t> packet;
    for (const auto& nal_unit : parameter_sets) rules_.framing.append(*nal_unit, packet);
    return packet;
  }

 private:
  RulesOf rules_of_;
  Rules rules_{};
  Marks outlasts_picture_, replaced_;
};

// H.266 7.3.1.2: parameter sets of the base layer and the lowest temporal sub-layer. H.265 reads such a header as a
// slice of an enhancement layer, H.264 as one of an unspecified type.
bool marks_h266(std::span<const std::uint8_t> nal_unit) {
  if (nal_unit.size() < 3 || nal_unit[0] != 0 || (nal_unit[1] & 7) != 1) return false;
  const int type = nal_unit[1] >> 3;
  return type >= 14 && type <= 16;
}

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

NalFilter::Rules rules_hevc(NalBytes extradata) {
  const hevc::Configuration configuration = hevc::parse_configuration(extradata);
  const bool beside = !extradata.empty() && !begins_with_start_code(extradata) && !configuration.nal_units.empty();
  return {configuration.framing, beside ? replace_hevc_beside : replace_hevc};
}

NalFilter::Rules rules_h264(NalBytes extradata) { return {h264::parse_configuration(extradata).framing, replace_h264}; }

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
  if (codec == "hevc") filter = std::make_shared<NalFilter>(rules_hevc, hevc::outlasts_picture, replaced_hevc);
  if (codec == "h264") filter = std::make_shared<NalFilter>(rules_h264, h264::outlasts_picture, replaced_h264);
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
