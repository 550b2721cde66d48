// |Y - 128|: the magnitude of the luma residual scaled to 8 bits and clipped to [-128, 127], 0..128.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

#include "common/geometry.h"
#include "saliency/picture.h"

namespace ove::saliency {

constexpr int kResidualLevels = 129;
using ResidualHistogram = std::array<std::uint64_t, kResidualLevels>;

// Residuals are 0 outside coded transform blocks: rows are walked in chunks, and chunks of zeros are left out.
constexpr int kResidualChunk = 16;

// Sixteen-bit arithmetic throughout: compilers turn it into the narrow minima and maxima that every CPU has.
inline std::int16_t residual_level(std::int16_t residual) {
  const std::int16_t level = std::min<std::int16_t>(std::max<std::int16_t>(residual, -128), 127);
  return static_cast<std::int16_t>(level < 0 ? -level : level);
}

inline void residual_levels(const std::int16_t* residual, int count, int shift, std::int16_t* levels) {
  if (shift == 0) {
    for (int i = 0; i < count; ++i) levels[i] = residual_level(residual[i]);
  } else {
    for (int i = 0; i < count; ++i) levels[i] = static_cast<std::int16_t>(residual[i] >> shift);
    for (int i = 0; i < count; ++i) levels[i] = residual_level(levels[i]);
  }
}

inline bool all_zero(const std::int16_t* chunk) {
  std::uint64_t words[kResidualChunk / 4];
  std::memcpy(words, chunk, sizeof(words));
  return (words[0] | words[1] | words[2] | words[3]) == 0;
}

inline const std::int16_t* residual_row(const PictureView& picture, const DisplayWindow& window, int y) {
  return picture.residual + static_cast<std::size_t>(window.y + y) * picture.width + window.x;
}

// Adds the magnitudes of the window to `histogram`.
void count_residual(const PictureView& picture, const DisplayWindow& window, ResidualHistogram& histogram);

}  // namespace ove::saliency
