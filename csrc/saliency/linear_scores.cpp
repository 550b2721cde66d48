// Patch sums of a weighted sum of energies: P V . H . (P U)^T, for each energy where it lives. Bits, and vectors
// without a camera that turns, are constant on blocks, so their operators are summed over the cells of their maps
// beforehand; residuals are 0 outside coded blocks.
#include <algorithm>

#include "saliency/rows.h"
#include "saliency/saliency.h"

namespace ove::saliency {

namespace {

double dot(const float* a, std::span<const float> b) { return saliency::dot(a, b.data(), static_cast<int>(b.size())); }

}  // namespace

void Saliency::add_map(const ValueMap& map, const MapSums& sums, float scale, double weight) {
  const std::size_t columns = map.columns;
  energy_.resize(map.values.size());
  energies(map.values.data(), energy_.size(), scale, 1.0f, energy_.data());
  accumulator_.resize(columns);
  for (int p = 0; p < sums.vertical.count(); ++p) {
    std::fill(accumulator_.begin(), accumulator_.end(), 0.0f);
    const float* row = energy_.data() + sums.vertical.begin(p) * columns;
    for (const float w : sums.vertical.row(p)) {
      add_weighted(row, columns, w, accumulator_.data());
      row += columns;
    }
    for (int q = 0; q < sums.horizontal.count(); ++q) {
      sums_[static_cast<std::size_t>(p) * sums.horizontal.count() + q] +=
          weight * dot(accumulator_.data() + sums.horizontal.begin(q), sums.horizontal.row(q));
    }
  }
}

// The energies that differ from sample to sample.
void Saliency::add_rows() {
  const bool motion = use_motion_ && !motion_.in_map();
  const int begin = axes_.horizontal.begin, end = axes_.horizontal.end;
  const std::size_t width = window_.width;
  accumulator_.assign(sample_sums_.vertical.count() * width, 0.0f);
  energy_.resize(width);
  const bool packed = use_residual_ && !accumulated_residual_ && residual_.packed();
  if (packed) {
    const std::span<const std::uint8_t> levels = residual_.block_levels();
    if (block_energies_.size() < levels.size()) block_energies_.resize(levels.size());
    level_energies(levels.data(), levels.size(), scales_.residual, block_energies_.data());
    add_blocks(block_energies_.data(), residual_.blocks(), residual_rows_, {begin, end}, width, accumulator_.data());
  }
  for (int y = 0; y < window_.height && !packed; ++y) {
    if (row_weights_[y].empty() || begin == end) continue;
    if (motion) {
      motion_.energies(y, begin, end, scales_.motion, static_cast<float>(params_.mv_weight), energy_.data());
    }
    for (const auto& [p, w] : row_weights_[y]) {
      float* sum = accumulator_.data() + p * width + begin;
      if (motion) add_weighted(energy_.data(), end - begin, w, sum);
      if (use_residual_) add_residual(y, {begin, end}, w * static_cast<float>(params_.residual_weight), sum);
    }
  }
  for (int p = 0; p < sample_sums_.vertical.count(); ++p) {
    for (int q = 0; q < sample_sums_.horizontal.count(); ++q) {
      const float* sum = accumulator_.data() + p * width + sample_sums_.horizontal.begin(q);
      sums_[static_cast<std::size_t>(p) * sample_sums_.horizontal.count() + q] +=
          dot(sum, sample_sums_.horizontal.row(q));
    }
  }
}

void Saliency::sum_linear() {
  if (use_motion_ && motion_.in_map()) add_map(motion_.map(), *motion_sums_, scales_.motion, params_.mv_weight);
  if (use_bits_) {
    const ValueMap& map = bit_cost_.map();
    if (bits_side_ != bit_cost_.side()) {
      bits_side_ = bit_cost_.side();
      bits_sums_.emplace(MapSums{{axes_.vertical, map.row_of}, {axes_.horizontal, map.column_of}});
    }
    add_map(map, *bits_sums_, scales_.bits, params_.bits_weight);
  }
  if (use_residual_ || (use_motion_ && !motion_.in_map())) add_rows();
}

}  // namespace ove::saliency
