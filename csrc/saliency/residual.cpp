#include "saliency/residual.h"

namespace ove::saliency {

void count_residual(const PictureView& picture, const DisplayWindow& window, ResidualHistogram& histogram) {
  const int shift = picture.bit_depth - 8;
  std::uint64_t zeros = 0;
  // Eight counters a level, so that a run of one level does not wait for its own last increment.
  constexpr int kLanes = 8;
  std::uint32_t counts[kLanes][256] = {};
  for (int y = 0; y < window.height; ++y) {
    const std::int16_t* row = residual_row(picture, window, y);
    std::int16_t level[kResidualChunk];
    for (int x = 0; x < window.width; x += kResidualChunk) {
      const int count = std::min(kResidualChunk, window.width - x);
      if (count < kResidualChunk) {
        residual_levels(row + x, count, shift, level);
        for (int i = 0; i < count; ++i) ++counts[0][level[i]];
      } else if (all_zero(row + x)) {
        zeros += kResidualChunk;
      } else {
        residual_levels(row + x, kResidualChunk, shift, level);
        for (int i = 0; i < kResidualChunk; ++i) ++counts[i % kLanes][level[i]];
      }
    }
  }
  histogram[0] += zeros;
  for (int level = 0; level < kResidualLevels; ++level) {
    for (const auto& lane : counts) histogram[level] += lane[level];
  }
}

}  // namespace ove::saliency
