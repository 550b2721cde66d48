#include "hevc/configuration.h"

#include "common/error.h"

namespace ove::hevc {

Configuration parse_configuration(std::span<const std::uint8_t> extradata) {
  Configuration result;
  const bool annex_b = extradata.size() >= 3 && extradata[0] == 0 && extradata[1] == 0 && extradata[2] <= 1;
  if (extradata.empty() || annex_b) {
    result.nal_units = NalFraming().split(extradata);
    return result;
  }
  constexpr std::size_t kFixedSize = 23;
  const auto require = [](bool condition) {
    if (!condition) throw InvalidBitstreamError("the decoder configuration record (hvcC) is cut short");
  };
  require(extradata.size() >= kFixedSize);
  result.framing = NalFraming((extradata[21] & 3) + 1);
  std::size_t at = kFixedSize;
  const auto read16 = [&] {
    require(extradata.size() - at >= 2);
    at += 2;
    return static_cast<std::size_t>(extradata[at - 2] << 8 | extradata[at - 1]);
  };
  for (int arrays = extradata[22]; arrays > 0 && at < extradata.size(); --arrays) {
    ++at;  // array_completeness and NAL_unit_type, which the NAL units repeat
    for (std::size_t count = read16(); count > 0; --count) {
      const std::size_t size = read16();
      require(size <= extradata.size() - at);
      if (size > 0) result.nal_units.push_back({extradata.subspan(at, size), at});
      at += size;
    }
  }
  return result;
}

}  // namespace ove::hevc
