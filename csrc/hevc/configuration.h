// Out-of-band parameter sets: HEVCDecoderConfigurationRecord (ISO/IEC 14496-15, 8.3.3.1), or Annex B.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "bitstream/nal.h"

namespace ove::hevc {

struct Configuration {
  NalFraming framing;              // of the packets
  std::vector<NalUnit> nal_units;  // in the extradata's memory
};

// Throws InvalidBitstreamError where a record is cut short.
Configuration parse_configuration(std::span<const std::uint8_t> extradata);

}  // namespace ove::hevc
