// The local variance of |v|, which takes its place: saliency::LocalVariance, for all pictures of a clip at once.
#pragma once

#include <cstdint>

#include "common/host_device.h"
#include "cuda/clip.h"
#include "saliency/formulas.h"

namespace ove::cuda {

OVE_HOST_DEVICE inline int clipped(int i, int length) { return i < 0 ? 0 : i < length ? i : length - 1; }

// Every window is added up by itself, from a map of |v|: the work grows with the window's area.
template <class Executor>
void measure_exact_variance(Executor& executor, const Clip& clip) {
  const std::int64_t samples = clip.tables.variance_samples();
  executor.for_each(clip.pictures * samples, [=] OVE_HOST_DEVICE(std::int64_t i) {
    const int width = clip.tables.grid.width, at = static_cast<int>(i % samples);
    clip.work.sums_of_values[i] = clip.sample_motion(i / samples, at % width, at / width);
  });
  executor.for_each(clip.pictures * samples, [=] OVE_HOST_DEVICE(std::int64_t i) {
    const int width = clip.tables.grid.width, height = clip.tables.grid.height, at = static_cast<int>(i % samples);
    const int k = clip.tables.params.local_variance, left = at % width - k / 2, top = at / width - k / 2;
    const float* const map = clip.work.sums_of_values + i / samples * samples;
    double sum = 0, squares = 0;
    for (int y = top; y < top + k; ++y) {
      const float* const row = map + std::int64_t{clipped(y, height)} * width;
      for (int x = left; x < left + k; ++x) {
        const auto value = static_cast<double>(row[clipped(x, width)]);
        sum += value;
        squares += value * value;
      }
    }
    clip.work.values[i] = saliency::window_variance(sum, squares, static_cast<double>(k) * k);
  });
}

// Integral images in single precision, in the order of saliency::ReferenceVariance: down the columns, then along rows.
template <class Executor>
void measure_reference_variance(Executor& executor, const Clip& clip) {
  const int k = clip.tables.params.local_variance;
  const std::int64_t width = clip.tables.grid.width + k - 1, height = clip.tables.grid.height + k - 1;
  float *const values = clip.work.sums_of_values, *const squares = clip.work.sums_of_squares;
  executor.for_each(clip.pictures * width, [=] OVE_HOST_DEVICE(std::int64_t i) {
    const saliency::BlockGrid& grid = clip.tables.grid;
    const std::int64_t picture = i / width, column = i % width;
    const int x = clipped(static_cast<int>(column) - k / 2, grid.width);
    float sum = 0, square_sum = 0;
    for (std::int64_t row = 0; row < height; ++row) {
      const float value = clip.sample_motion(picture, x, clipped(static_cast<int>(row) - k / 2, grid.height));
      const std::int64_t at = (picture * height + row) * width + column;
      values[at] = sum += value;
      squares[at] = square_sum += value * value;
    }
  });
  executor.for_each(clip.pictures * height, [=] OVE_HOST_DEVICE(std::int64_t i) {
    float sum = 0, square_sum = 0;
    for (std::int64_t at = i * width; at < (i + 1) * width; ++at) {
      values[at] = sum += values[at];
      squares[at] = square_sum += squares[at];
    }
  });
  const std::int64_t columns = clip.tables.motion_cells.columns, rows = clip.tables.motion_cells.rows;
  executor.for_each(clip.pictures * columns * rows, [=] OVE_HOST_DEVICE(std::int64_t i) {
    const std::int64_t row = i / columns % rows, upper = (i / columns / rows * height + row) * width + i % columns;
    const std::int64_t lower = upper + k * width;
    const auto mean = [=](const float* sums) {
      return saliency::integral_mean(sums[lower + k], sums[upper + k], sums[lower], sums[upper], k);
    };
    clip.work.values[i] = saliency::reference_variance(mean(values), mean(squares));
  });
}

template <class Executor>
void measure_variance(Executor& executor, const Clip& clip) {
  clip.tables.params.reference_motion ? measure_reference_variance(executor, clip)
                                      : measure_exact_variance(executor, clip);
}

}  // namespace ove::cuda
