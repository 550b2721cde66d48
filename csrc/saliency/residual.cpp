#include "saliency/residual.h"

namespace ove::saliency {

void count_residual(const PictureView& picture, const DisplayWindow& window, ResidualHistogram& histogram) {
  const int shift = picture.bit_depth - 8;
  std::uint64_t zeros = 0;
  // Two counters a level, so that a run of one level does not wait for its own last increment.
  std::uint32_t counts[2][256] = {};
  for (int y = 0; y < window.height; ++y) {
    const std::int16_t* row = residual_row(picture, window, y);
    int x = 0;
    for (; x + kResidualChunk <= window.width; x += kResidualChunk) {
      if (all_zero(row + x)) {
        zeros += kResidualChunk;
        continue;
      }
      std::uint8_t level[kResidualChunk];
      for (int i = 0; i < kResidualChunk; ++i)
        level[i] = static_cast<std::uint8_t>(residual_magnitude(row[x + i], shift));
      for (int i = 0; i < kResidualChunk; i += 2) {
        ++counts[0][level[i]];
        ++counts[1][level[i + 1]];
      }
    }
    for (; x < window.width; ++x) ++counts[0][residual_magnitude(row[x], shift)];
  }
  histogram[0] += zeros;
  for (int level = 0; level < kResidualLevels; ++level)
    histogram[level] += counts[0][level] + std::uint64_t{counts[1][level]};
}

}  // namespace ove::saliency
