// The canvas row by row: the rows of the window that a row of the canvas is made of are fused, combined, then resampled
// along themselves.
#include <algorithm>
#include <cmath>

#include "saliency/rows.h"
#include "saliency/saliency.h"

namespace ove::saliency {

// Rows of energies in the order motion, residual, bits, as far as they are in use; then fused, and quantised. `fused`
// are the columns of the window that the canvas shows.
void Saliency::fuse_row(int y, std::span<float> fused) {
  const int begin = axes_.horizontal.begin, end = axes_.horizontal.end;
  const std::size_t n = fused.size();
  const bool weighted = params_.fuse == Fuse::kWeighted;
  energy_.resize(2 * n);
  int count = 0;
  // The first energy begins the fused row, the others wait.
  const auto next = [&] {
    ++count;
    return count == 1 ? fused.data() : energy_.data() + n * (count - 2);
  };
  const auto weight = [&](double value) { return weighted ? static_cast<float>(value) : 1.0f; };
  if (use_motion_) {
    motion_.energies(y, begin, end, scales_.motion, weight(params_.mv_weight), next());
  }
  if (use_residual_) {
    // A sum takes what is coded as it is; the other ways need the zeros too.
    const bool added = weighted && count > 0;
    float* row = added ? fused.data() : next();
    if (!added) std::fill_n(row, n, 0.0f);
    add_residual(y, {begin, end}, weight(params_.residual_weight), row);
  }
  if (use_bits_) {
    const ValueMap& map = bit_cost_.map();
    float* row = next();
    for (std::size_t x = 0; x < n; ++x) row[x] = map.row(y)[map.column_of[begin + x]];
    energies(row, n, scales_.bits, weight(params_.bits_weight), row);
  }

  for (int i = 1; i < count; ++i) {
    for (std::size_t x = 0; x < n; ++x) fused[x] = fold(params_.fuse, fused[x], energy_[(i - 1) * n + x]);
  }
  if (params_.fuse == Fuse::kGeomean) {
    for (float& value : fused) value = folded(params_.fuse, value, count);
  }
  const float strength = params_.center_prior > 0 ? static_cast<float>(params_.center_prior) * prior_y_[y] : 0.0f;
  const float* prior = prior_x_.data() + begin;
  if (params_.center_prior > 0 && params_.quantize) {
    apply_prior_and_quantize(prior, n, strength, fused.data());
  } else if (params_.center_prior > 0) {
    apply_prior(prior, n, strength, fused.data());
  } else if (params_.quantize) {
    quantize(n, fused.data());
  }
}

const float* Saliency::fused_row(int y) {
  std::vector<float>& row = fused_[y % kKeptRows];
  if (fused_at_[y % kKeptRows] != y) {
    fused_at_[y % kKeptRows] = y;
    row.resize(axes_.horizontal.end - axes_.horizontal.begin);
    fuse_row(y, row);
  }
  return row.data();
}

void Saliency::render(const Emit& emit) {
  const Axis& vertical = axes_.vertical;
  const Axis& horizontal = axes_.horizontal;
  const std::size_t n = horizontal.end - horizontal.begin;
  fused_at_.fill(-1);
  line_.assign(n + 2 * horizontal.taps, 0.0f);  // taps before and behind what is shown weigh nothing
  canvas_row_.resize(horizontal.canvas);
  for (int i = 0; i < vertical.canvas; ++i) {
    const int y = vertical.reversed ? vertical.canvas - 1 - i : i;  // rows of the window come in ascending order
    std::fill(line_.begin(), line_.end(), 0.0f);
    bool shown = false;
    for (int k = 0; k < vertical.taps; ++k) {
      const float weight = vertical.weight[static_cast<std::size_t>(y) * vertical.taps + k];
      if (weight == 0.0f) continue;
      add_weighted(fused_row(vertical.first[y] + k), n, weight, line_.data() + horizontal.taps);
      shown = true;
    }
    if (shown) {
      resample(line_.data(), line_first_.data(), horizontal.weight.data(), horizontal.taps, canvas_row_.size(),
               canvas_row_.data());
    } else {
      std::fill(canvas_row_.begin(), canvas_row_.end(), 0.0f);
    }
    // A cubic kernel overshoots: heat is not negative, and quantised heat saturates like the 8-bit picture it is.
    if (params_.quantize) {
      saturate(canvas_row_.size(), canvas_row_.data());
    } else if (params_.interpolation == Interpolation::kCubic) {
      for (float& value : canvas_row_) value = std::max(value, 0.0f);
    }
    emit(y, canvas_row_);
  }
}

}  // namespace ove::saliency
