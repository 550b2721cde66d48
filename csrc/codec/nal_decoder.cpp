#include "codec/nal_decoder.h"

namespace ove::codec {

std::size_t NalDecoder::begin_packet(std::int64_t&) {
  const Limits& limits = options().limits;
  const auto units = framing_.split(packet(), static_cast<std::size_t>(limits.max_nal_units) + 1);
  limits.check(&Limits::max_nal_units, std::ssize(units), "the number of NAL units of a packet");
  units_.clear();
  for (const NalUnit& unit : units) units_.push_back({unit.offset, unit.bytes.size()});
  return units_.size();
}

void NalDecoder::decode_part(std::size_t part, const AccessUnitTag& tag, std::int64_t& at) {
  const Place& unit = units_[part];
  if (at >= 0) at += static_cast<std::int64_t>(unit.offset);
  decode_nal({packet().subspan(unit.offset, unit.size), unit.offset}, tag, at);
}

}  // namespace ove::codec
