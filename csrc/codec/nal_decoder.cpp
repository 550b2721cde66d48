#include "codec/nal_decoder.h"

namespace ove::codec {

void NalDecoder::decode_packet(std::span<const std::uint8_t> packet, const AccessUnitTag& tag, std::int64_t& at) {
  const std::int64_t begin = at;
  const Limits& limits = options().limits;
  const auto units = framing_.split(packet, static_cast<std::size_t>(limits.max_nal_units) + 1);
  limits.check(&Limits::max_nal_units, std::ssize(units), "the number of NAL units of a packet");
  for (const NalUnit& unit : units) {
    if (begin >= 0) at = begin + static_cast<std::int64_t>(unit.offset);
    decode_nal(unit, tag, at);
  }
}

}  // namespace ove::codec
