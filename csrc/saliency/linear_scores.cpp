// Patch sums of a weighted sum of energies: P V . H . (P U)^T, for each energy where it lives. Vectors and bits are
// constant on blocks, so their operators are summed over the blocks beforehand; residuals are 0 outside coded blocks.
#include <algorithm>

#include "saliency/saliency.h"

namespace ove::saliency {

namespace {

double dot(const float* a, std::span<const float> b) {
  double lanes[4] = {};
  std::size_t i = 0;
  for (; i + 4 <= b.size(); i += 4) {
    for (int k = 0; k < 4; ++k) lanes[k] += static_cast<double>(a[i + k]) * static_cast<double>(b[i + k]);
  }
  double sum = (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
  for (; i < b.size(); ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

}  // namespace

void Saliency::add_map(const ValueMap& map, const MapSums& sums, float scale, double weight) {
  const std::size_t columns = map.columns;
  energy_.resize(map.values.size());
  for (std::size_t i = 0; i < energy_.size(); ++i) energy_[i] = std::min(map.values[i] * scale, 1.0f);
  accumulator_.resize(columns);
  for (int p = 0; p < sums.vertical.count(); ++p) {
    std::fill(accumulator_.begin(), accumulator_.end(), 0.0f);
    const float* row = energy_.data() + sums.vertical.begin(p) * columns;
    for (const float w : sums.vertical.row(p)) {
      for (std::size_t x = 0; x < columns; ++x) accumulator_[x] += w * row[x];
      row += columns;
    }
    for (int q = 0; q < sums.horizontal.count(); ++q) {
      sums_[static_cast<std::size_t>(p) * sums.horizontal.count() + q] +=
          weight * dot(accumulator_.data() + sums.horizontal.begin(q), sums.horizontal.row(q));
    }
  }
}

void Saliency::add_residual(const PictureView& picture, double weight) {
  const int shift = picture.bit_depth - 8;
  const std::size_t width = window_.width;
  accumulator_.assign(sample_sums_.vertical.count() * width, 0.0f);
  for (int y = 0; y < window_.height; ++y) {
    if (row_weights_[y].empty()) continue;
    const std::int16_t* row = residual_row(picture, window_, y);
    std::int16_t level[kResidualChunk];
    float energy[kResidualChunk];
    for (std::size_t x = 0; x < width; x += kResidualChunk) {
      const int count = static_cast<int>(std::min<std::size_t>(kResidualChunk, width - x));
      if (count == kResidualChunk && all_zero(row + x)) continue;
      residual_levels(row + x, count, shift, level);
      for (int i = 0; i < count; ++i) energy[i] = std::min(static_cast<float>(level[i]) * scales_.residual, 1.0f);
      for (const auto& [p, w] : row_weights_[y]) {
        float* sum = accumulator_.data() + p * width + x;
        for (int i = 0; i < count; ++i) sum[i] += w * energy[i];
      }
    }
  }
  for (int p = 0; p < sample_sums_.vertical.count(); ++p) {
    for (int q = 0; q < sample_sums_.horizontal.count(); ++q) {
      const float* sum = accumulator_.data() + p * width + sample_sums_.horizontal.begin(q);
      sums_[static_cast<std::size_t>(p) * sample_sums_.horizontal.count() + q] +=
          weight * dot(sum, sample_sums_.horizontal.row(q));
    }
  }
}

void Saliency::score_linear(const PictureView& picture) {
  std::fill(sums_.begin(), sums_.end(), 0.0);
  if (use_motion_) add_map(motion_.map(), *motion_sums_, scales_.motion, params_.mv_weight);
  if (use_bits_) {
    const ValueMap& map = bit_cost_.map();
    if (bits_side_ != bit_cost_.side()) {
      bits_side_ = bit_cost_.side();
      bits_sums_.emplace(MapSums{{axes_.vertical, map.row_of}, {axes_.horizontal, map.column_of}});
    }
    add_map(map, *bits_sums_, scales_.bits, params_.bits_weight);
  }
  if (use_residual_) add_residual(picture, params_.residual_weight);
}

}  // namespace ove::saliency
