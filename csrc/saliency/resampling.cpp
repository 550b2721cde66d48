#include "saliency/resampling.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace ove::saliency {

namespace {

// Keys' cubic convolution kernel with a = -3/4, at the distances 1 + f, f, 1 - f and 2 - f.
std::array<double, 4> cubic_weights(double f) {
  constexpr double a = -0.75;
  const auto near = [](double d) { return ((a + 2) * d - (a + 3)) * d * d + 1; };
  const auto far = [](double d) { return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a; };
  return {far(1 + f), near(f), near(1 - f), far(2 - f)};
}

Axis make_axis(int source, int resized, int offset, int patches, int patch, Interpolation interpolation,
               bool reversed) {
  Axis axis;
  axis.source = source;
  axis.patch = patch;
  axis.canvas = patches * patch;
  axis.taps = interpolation == Interpolation::kCubic ? 4 : 2;
  axis.reversed = reversed;
  axis.first.assign(axis.canvas, 0);
  axis.weight.assign(static_cast<std::size_t>(axis.canvas) * axis.taps, 0.0f);
  axis.begin = source;
  for (int i = 0; i < axis.canvas; ++i) {
    const int x = i - offset;
    if (x < 0 || x >= resized) continue;
    const double position = (x + 0.5) * source / resized - 0.5;
    const double whole = std::floor(position);
    const double f = position - whole;
    std::array<double, 4> weights = {1 - f, f};
    if (axis.taps == 4) weights = cubic_weights(f);
    // Borders are repeated: taps outside count for the outermost sample.
    const int left = static_cast<int>(whole) - (axis.taps / 2 - 1);
    const int tap_left = reversed ? source - left - axis.taps : left;
    const int first = std::clamp(tap_left, 0, std::max(0, source - axis.taps));
    std::array<double, 4> folded{};
    for (int k = 0; k < axis.taps; ++k) {
      const int tap = std::clamp(left + k, 0, source - 1);
      folded[(reversed ? source - 1 - tap : tap) - first] += weights[k];
    }
    axis.first[i] = first;
    for (int k = 0; k < axis.taps; ++k) {
      if (folded[k] == 0) continue;
      axis.weight[i * axis.taps + k] = static_cast<float>(folded[k]);
      axis.begin = std::min(axis.begin, first + k);
      axis.end = std::max(axis.end, first + k + 1);
    }
  }
  axis.begin = std::min(axis.begin, axis.end);
  return axis;
}

}  // namespace

Axes make_axes(const Geometry& g, Orientation orientation, Interpolation interpolation) {
  const bool swapped = orientation.swaps_axes();
  bool reverse_rows = orientation.reverses_rows(), reverse_columns = orientation.reverses_columns();
  if (swapped) std::swap(reverse_rows, reverse_columns);
  Axis rows = make_axis(g.source_height, g.resized_height, g.offset_y, g.rows, g.patch, interpolation, reverse_rows);
  Axis columns =
      make_axis(g.source_width, g.resized_width, g.offset_x, g.columns, g.patch, interpolation, reverse_columns);
  if (swapped) std::swap(rows, columns);
  return {std::move(rows), std::move(columns), swapped};
}

PatchSums::PatchSums(const Axis& axis, std::span<const std::int32_t> cell_of) : offset_{0} {
  std::vector<double> dense;
  const auto source = [&](int tap) { return axis.first[tap / axis.taps] + tap % axis.taps; };
  for (int first = 0; first < axis.canvas; first += axis.patch) {
    const int taps_begin = first * axis.taps, taps_end = (first + axis.patch) * axis.taps;
    std::int32_t low = std::numeric_limits<std::int32_t>::max(), high = -1;
    for (int k = taps_begin; k < taps_end; ++k) {
      if (axis.weight[k] == 0.0f) continue;
      low = std::min(low, cell_of[source(k)]);
      high = std::max(high, cell_of[source(k)]);
    }
    if (high < 0) low = 0;
    dense.assign(static_cast<std::size_t>(high - low + 1), 0.0);
    for (int k = taps_begin; k < taps_end; ++k) {
      if (axis.weight[k] != 0.0f) dense[cell_of[source(k)] - low] += static_cast<double>(axis.weight[k]);
    }
    begin_.push_back(low);
    weights_.insert(weights_.end(), dense.begin(), dense.end());
    offset_.push_back(static_cast<std::int32_t>(weights_.size()));
  }
}

}  // namespace ove::saliency
