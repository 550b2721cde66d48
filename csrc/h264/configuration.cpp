#include "h264/configuration.h"

#include "common/error.h"

namespace ove::h264 {

Configuration parse_configuration(std::span<const std::uint8_t> extradata) {
  Configuration result;
  if (extradata.empty() || begins_with_start_code(extradata)) {
    result.nal_units = NalFraming().split(extradata);
    return result;
  }
  constexpr std::size_t kFixedSize = 6;
  const auto require = [](bool condition) {
    if (!condition) throw InvalidBitstreamError("the decoder configuration record (avcC) is cut short");
  };
  require(extradata.size() >= kFixedSize);
  result.framing = NalFraming((extradata[4] & 3) + 1);
  std::size_t at = 5;
  for (const int mask : {0x1F, 0xFF}) {  // SPS, then PPS
    if (at == extradata.size()) break;
    for (int count = extradata[at++] & mask; count > 0; --count) {
      require(extradata.size() - at >= 2);
      const auto size = static_cast<std::size_t>(extradata[at] << 8 | extradata[at + 1]);
      at += 2;
      require(size <= extradata.size() - at);
      if (size > 0) result.nal_units.push_back({extradata.subspan(at, size), at});
      at += size;
    }
  }
  return result;
}

}  // namespace ove::h264
