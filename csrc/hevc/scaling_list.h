// Scaling lists (7.3.4, 7.4.5). Only the luma matrices are kept: no chroma sample is ever scaled.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "bitstream/bit_reader.h"

namespace ove::hevc {

// ScalingFactor of luma, [log2 of the block size - 2][0 intra, 1 inter], rows of m[y * size + x]
struct ScalingFactors {
  std::array<std::array<std::vector<std::uint8_t>, 2>, 4> luma;
};

ScalingFactors default_scaling_factors();              // Tables 7-5 and 7-6
ScalingFactors parse_scaling_list_data(BitReader& r);  // scaling_list_data()

}  // namespace ove::hevc
