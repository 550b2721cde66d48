// The heat on the whole canvas: rows of the window are fused, resampled along themselves, then down the canvas.
#include <algorithm>
#include <cmath>

#include "saliency/saliency.h"

namespace ove::saliency {

namespace {

void spread(const ValueMap& map, int y, float scale, std::span<float> row) {
  const float* cells = map.row(y);
  for (std::size_t x = 0; x < row.size(); ++x) row[x] = std::min(cells[map.column_of[x]] * scale, 1.0f);
}

}  // namespace

// Rows of energies in the order motion, residual, bits, as far as they are in use; then fused, not yet quantised.
void Saliency::fuse_row(const PictureView& picture, int y, std::span<float> fused) {
  const std::size_t width = fused.size();
  energy_.resize(3 * width);
  float weights[3];
  int count = 0;
  const auto next = [&](double weight) {
    weights[count] = static_cast<float>(weight);
    return std::span(energy_).subspan(width * count++, width);
  };
  if (use_motion_) spread(motion_.map(), y, scales_.motion, next(params_.mv_weight));
  if (use_residual_) {
    const std::span<float> row = next(params_.residual_weight);
    const std::int16_t* residual = residual_row(picture, window_, y);
    levels_.resize(width);
    residual_levels(residual, window_.width, picture.bit_depth - 8, levels_.data());
    for (std::size_t x = 0; x < width; ++x) row[x] = std::min(static_cast<float>(levels_[x]) * scales_.residual, 1.0f);
  }
  if (use_bits_) spread(bit_cost_.map(), y, scales_.bits, next(params_.bits_weight));

  const auto fold = [&](auto first, auto combine) {
    for (std::size_t x = 0; x < width; ++x) fused[x] = first(energy_[x]);
    for (int i = 1; i < count; ++i) {
      for (std::size_t x = 0; x < width; ++x) fused[x] = combine(fused[x], energy_[i * width + x], weights[i]);
    }
  };
  const auto same = [](float e) { return e; };
  switch (params_.fuse) {
    case Fuse::kWeighted:
      fold([&](float e) { return weights[0] * e; }, [](float sum, float e, float w) { return sum + w * e; });
      break;
    case Fuse::kMax:
      fold(same, [](float most, float e, float) { return std::max(most, e); });
      break;
    case Fuse::kSum:
      fold(same, [](float sum, float e, float) { return std::min(sum + e, 1.0f); });
      break;
    case Fuse::kGeomean:
      fold(same, [](float product, float e, float) { return product * e; });
      if (count == 2) {
        for (float& value : fused) value = std::sqrt(value);
      } else if (count == 3) {
        for (float& value : fused) value = std::cbrt(value);
      }
      break;
  }
  if (params_.center_prior > 0) {
    const float strength = static_cast<float>(params_.center_prior) * prior_y_[y];
    for (std::size_t x = 0; x < width; ++x) fused[x] = std::min(fused[x] * (1.0f + strength * prior_x_[x]), 1.0f);
  }
  if (params_.quantize) {
    for (float& value : fused) value = std::floor(255.0f * std::min(value, 1.0f));
  }
}

void Saliency::render(const PictureView& picture) {
  const Axis& vertical = axes_.vertical;
  const Axis& horizontal = axes_.horizontal;
  const std::size_t length = horizontal.canvas;
  // Only the rows that the canvas shows are fused; line_of is their place among the resampled lines.
  std::vector<std::int32_t> line_of(window_.height, -1);
  std::int32_t lines = 0;
  for (std::size_t k = 0; k < vertical.index.size(); ++k) {
    if (vertical.weight[k] != 0.0f && line_of[vertical.index[k]] < 0) line_of[vertical.index[k]] = lines++;
  }
  lines_.assign(lines * length, 0.0f);
  std::vector<float> fused(window_.width);
  for (int y = 0; y < window_.height; ++y) {
    if (line_of[y] < 0) continue;
    fuse_row(picture, y, fused);
    float* line = lines_.data() + line_of[y] * length;
    for (std::size_t x = 0; x < length; ++x) {
      for (int k = 0; k < horizontal.taps; ++k) {
        const std::size_t tap = x * horizontal.taps + k;
        line[x] += horizontal.weight[tap] * fused[horizontal.index[tap]];
      }
    }
  }
  canvas_.assign(vertical.canvas * length, 0.0f);
  for (int y = 0; y < vertical.canvas; ++y) {
    float* row = canvas_.data() + y * length;
    for (int k = 0; k < vertical.taps; ++k) {
      const std::size_t tap = static_cast<std::size_t>(y) * vertical.taps + k;
      if (vertical.weight[tap] == 0.0f) continue;
      const float* line = lines_.data() + line_of[vertical.index[tap]] * length;
      for (std::size_t x = 0; x < length; ++x) row[x] += vertical.weight[tap] * line[x];
    }
    // A cubic kernel overshoots: heat is not negative, and quantised heat saturates like the 8-bit picture it is.
    if (params_.quantize) {
      for (std::size_t x = 0; x < length; ++x) row[x] = std::nearbyint(std::clamp(row[x], 0.0f, 255.0f));
    } else if (params_.interpolation == Interpolation::kCubic) {
      for (std::size_t x = 0; x < length; ++x) row[x] = std::max(row[x], 0.0f);
    }
  }
}

void Saliency::sum_patches() {
  std::fill(sums_.begin(), sums_.end(), 0.0);
  const int patch = geometry_.patch, length = axes_.horizontal.canvas, columns = length / patch;
  for (int y = 0; y < axes_.vertical.canvas; ++y) {
    const float* row = canvas_.data() + static_cast<std::size_t>(y) * length;
    double* sums = sums_.data() + static_cast<std::size_t>(y / patch) * columns;
    for (int x = 0; x < length; ++x) sums[x / patch] += static_cast<double>(row[x]);
  }
}

}  // namespace ove::saliency
