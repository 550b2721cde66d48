// The arithmetic of 8.6.2 and 8.6.4 to 8.6.8, one sample at a time.
#pragma once

#include <cstdint>

namespace ove::hevc {

constexpr std::int16_t clip16(std::int32_t v) {
  return static_cast<std::int16_t>(v < -32768 ? -32768 : v > 32767 ? 32767 : v);
}

// bdShift of the second stage; the first one has 7.
constexpr int kFirstShift = 7;
constexpr int second_shift(int bit_depth) { return 20 - bit_depth; }

// 8.6.4.2: what a stage makes of a sum of products.
constexpr std::int16_t stage_value(std::int32_t sum, int shift) {
  return clip16((sum + (1 << (shift - 1))) >> shift);
}

// 8.6.4.2 with transform_skip_flag
constexpr std::int16_t skipped_value(std::int16_t coefficient, int log2_size, int bit_depth) {
  const int shift = second_shift(bit_depth);
  const std::int64_t scaled = std::int64_t{coefficient} << (5 + log2_size);
  const std::int64_t value = (scaled + (std::int64_t{1} << (shift - 1))) >> shift;
  return static_cast<std::int16_t>(value < -32768 ? -32768 : value > 32767 ? 32767 : value);
}

}  // namespace ove::hevc
