// What the caller knows of an access unit, found again on the picture that begins in it.
#pragma once

#include <cstdint>

namespace ove::codec {

struct AccessUnitTag {
  std::int64_t packet = -1;
  std::int64_t position = -1, size = 0;  // bytes of the packet in the source
  std::int64_t pts = 0, dts = 0;
  bool has_pts = false;
  bool discard = false;
};

}  // namespace ove::codec
