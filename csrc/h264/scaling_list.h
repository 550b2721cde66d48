// Scaling lists (7.3.2.1.1.1) of luma, with the fall-back rules of Table 7-2.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "bitstream/bit_reader.h"

namespace ove::h264 {

// Weights by position: i = row * size + column. First of intra, then of inter macroblocks.
struct ScalingFactors {
  std::array<std::array<std::uint8_t, 16>, 2> size4;
  std::array<std::array<std::uint8_t, 64>, 2> size8;
  bool operator==(const ScalingFactors&) const = default;
};

// Flat_4x4_16 and Flat_8x8_16
ScalingFactors flat_scaling_factors();

// The lists of an SPS or PPS. `count8` 8x8 lists follow six 4x4 lists. A list that is not there falls back on
// `fall_back`: the default lists where it is null (rule A), else the sequence's (rule B).
ScalingFactors parse_scaling_lists(BitReader& r, int count8, const ScalingFactors* fall_back);

}  // namespace ove::h264
