// The packet filter of codecs whose packets are NAL units.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "bitstream/nal.h"
#include "common/error.h"
#include "media/packet_filter.h"

namespace ove::reader {

using NalBytes = std::span<const std::uint8_t>;
using Marks = bool (*)(NalBytes nal_unit);
// What the pixel decoder is given for a NAL unit.
using Replace = std::vector<std::vector<std::uint8_t>> (*)(NalBytes nal_unit);
// What it is given for a configuration record; none where that may stay as it is.
using ReplaceRecord = std::optional<std::vector<std::uint8_t>> (*)(NalBytes record);

class NalFilter final : public media::PacketFilter {
 public:
  // How the packets are framed of a stream with such extradata.
  using FramingOf = NalFraming (*)(NalBytes extradata);

  // `replaced` marks the NAL units that `replace` is for; `record` may be null.
  NalFilter(FramingOf framing_of, Marks outlasts_picture, Marks replaced, Replace replace, ReplaceRecord record)
      : framing_of_(framing_of),
        outlasts_picture_(outlasts_picture),
        replaced_(replaced),
        replace_(replace),
        record_(record) {}

  void set_extradata(NalBytes extradata) override { framing_ = framing_of_(extradata); }

  std::optional<std::vector<std::uint8_t>> for_pixels(NalBytes packet) const override {
    std::vector<NalUnit> units;
    try {
      units = framing_.split(packet);
    } catch (const Error&) {
      return std::nullopt;  // the decoder tells what is wrong
    }
    const auto replaced = [&](const NalUnit& unit) { return replaced_(unit.bytes); };
    if (std::none_of(units.begin(), units.end(), replaced) && framing_.is_tight(packet, units)) {
      return std::nullopt;
    }
    std::vector<std::uint8_t> kept;
    for (const NalUnit& unit : units) {
      if (!replaced(unit)) {
        framing_.append(unit.bytes, kept);
      } else {
        for (const auto& other : replace_(unit.bytes)) framing_.append(other, kept);
      }
    }
    return kept;
  }

  std::optional<std::vector<std::uint8_t>> extradata_for_pixels(NalBytes extradata) const override {
    if (begins_with_start_code(extradata)) return for_pixels(extradata);
    return record_ && !extradata.empty() ? record_(extradata) : std::nullopt;
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
  FramingOf framing_of_;
  NalFraming framing_;
  Marks outlasts_picture_, replaced_;
  Replace replace_;
  ReplaceRecord record_;
};

}  // namespace ove::reader
