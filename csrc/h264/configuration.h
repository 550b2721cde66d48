// The decoder configuration of a container's track: avcC (ISO/IEC 14496-15, 5.3.3.1) or Annex B.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "bitstream/nal.h"

namespace ove::h264 {

struct Configuration {
  NalFraming framing;
  std::vector<NalUnit> nal_units;  // parameter sets, and what else stands there
};

// Throws InvalidBitstreamError where an avcC is cut short.
Configuration parse_configuration(std::span<const std::uint8_t> extradata);

}  // namespace ove::h264
