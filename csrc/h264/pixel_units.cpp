#include "h264/pixel_units.h"

#include <array>

#include "bitstream/nal.h"

namespace ove::h264 {

bool is_supplementary(std::span<const std::uint8_t> nal_unit) { return (nal_unit[0] & 0x1F) == 6; }

// 7.3.2.3.1
std::vector<std::vector<std::uint8_t>> for_pixels(std::span<const std::uint8_t> nal_unit) {
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
  if (!needed) return {};
  return {{nal_unit.begin(), nal_unit.end()}};
}

}  // namespace ove::h264
