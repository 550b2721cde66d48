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
// What the pixel decoder is given for a NAL unit: the unit itself, another one, or nothing where it is empty.
using Replace = std::vector<std::uint8_t> (*)(NalBytes nal_unit);
// What it is given for a configuration record; none where that may stay as it is.
using ReplaceRecord = std::optional<std::vector<std::uint8_t>> (*)(NalBytes record);

class NalFilter final : public media::PacketFilter {
 public:
  // What the extradata of a stream tells: how its packets are framed, and which rule they are given by.
  struct Rules {
    NalFraming framing;
    Replace replace;
  };
  using RulesOf = Rules (*)(NalBytes extradata);

  // `replaced` marks the NAL units that are replaced; `record` may be null.
  NalFilter(RulesOf rules_of, Marks outlasts_picture, Marks replaced, ReplaceRecord record)
      : rules_of_(rules_of), outlasts_picture_(outlasts_picture), replaced_(replaced), record_(record) {}

  void set_extradata(NalBytes extradata) override { rules_ = rules_of_(extradata); }

  std::optional<std::vector<std::uint8_t>> for_pixels(NalBytes packet) const override {
    std::vector<NalUnit> units;
    try {
      units = rules_.framing.split(packet);
    } catch (const Error&) {
      return std::nullopt;  // the decoder tells what is wrong
    }
    const auto replaced = [&](const NalUnit& unit) { return replaced_(unit.bytes); };
    if (std::none_of(units.begin(), units.end(), replaced) && rules_.framing.is_tight(packet, units)) {
      return std::nullopt;
    }
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

  std::optional<std::vector<std::uint8_t>> extradata_for_pixels(NalBytes extradata) const override {
    if (begins_with_start_code(extradata)) return for_pixels(extradata);
    return record_ && !extradata.empty() ? record_(extradata) : std::nullopt;
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
  ReplaceRecord record_;
};

}  // namespace ove::reader
