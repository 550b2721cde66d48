// The motion of the camera in each field of vectors: saliency::fit_camera, for all pictures of a clip at once.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/host_device.h"
#include "cuda/clip.h"
#include "cuda/percentiles.h"
#include "saliency/camera.h"
#include "saliency/camera_fit.h"

namespace ove::cuda {

// Medians of the vectors' components: a camera that translates.
template <class Executor>
void fit_medians(Executor& executor, const Clip& clip) {
  const std::int64_t fields = clip.pictures * clip.tables.lists, blocks = clip.tables.blocks();
  saliency::Camera* const cameras = clip.work.cameras;
  const std::int64_t lists = clip.tables.lists;
  find_percentiles(
      executor, clip.work.select, Extent{2 * fields, 1, blocks},
      [=] OVE_HOST_DEVICE(std::int64_t s) { return clip.counted(s / 2 / lists); }, 50.0,
      [=] OVE_HOST_DEVICE(std::int64_t s, std::int64_t, std::uint32_t i) {
        const std::int64_t field = s / 2;
        const float* const components = s == 2 * field ? clip.arrays.x : clip.arrays.y;
        return weighted(components[field * blocks + i], clip.counts(field / lists, i) ? 1 : 0);
      },
      [=] OVE_HOST_DEVICE(std::int64_t s, double median) {
        saliency::Camera& camera = cameras[s / 2];
        const auto value = static_cast<float>(median);
        if (s % 2 == 0) {
          camera.x0 = value, camera.xx = camera.xy = 0;
        } else {
          camera.y0 = value, camera.yx = camera.yy = 0;
        }
      });
}

template <class Executor>
void fit_means(Executor& executor, const Clip& clip) {
  constexpr std::int64_t kShares = 128;
  const std::int64_t fields = clip.pictures * clip.tables.lists, blocks = clip.tables.blocks();
  // Vectors in quarters of a sample add up exactly in any order. The counters of percentiles lie idle.
  auto* const parts = reinterpret_cast<double*>(clip.work.select.counts);
  static_assert(4 * kSelectBins >= 2 * kShares);
  saliency::Camera* const cameras = clip.work.cameras;
  const std::int64_t lists = clip.tables.lists;
  executor.for_each(fields * kShares, [=] OVE_HOST_DEVICE(std::int64_t i) {
    const std::int64_t field = i / kShares, first = field * blocks;
    double x = 0, y = 0;
    for (std::int64_t k = i % kShares; k < blocks; k += kShares) {
      if (!clip.counts(field / lists, k)) continue;
      x += static_cast<double>(clip.arrays.x[first + k]);
      y += static_cast<double>(clip.arrays.y[first + k]);
    }
    parts[2 * i] = x;
    parts[2 * i + 1] = y;
  });
  executor.for_each(fields, [=] OVE_HOST_DEVICE(std::int64_t f) {
    double x = 0, y = 0;
    for (std::int64_t k = f * kShares; k < (f + 1) * kShares; ++k) {
      x += parts[2 * k];
      y += parts[2 * k + 1];
    }
    saliency::Camera camera;
    const auto n = static_cast<double>(clip.counted(f / lists));
    camera.x0 = n > 0 ? static_cast<float>(x / n) : 0.0f;
    camera.y0 = n > 0 ? static_cast<float>(y / n) : 0.0f;
    cameras[f] = camera;
  });
}

// The least-squares camera of the first count(field) of every kMostPoints points; where there are none it stays.
template <class Executor, class Count>
void fit_to_points(Executor& executor, const Clip& clip, const saliency::Point* points, Count count) {
  using saliency::kFitLanes;
  using saliency::kMostPoints;
  const std::int64_t fields = clip.pictures * clip.tables.lists;
  const saliency::Compensate compensate = clip.tables.params.compensate;
  const ClipWork work = clip.work;
  executor.for_each(fields * kFitLanes, [=] OVE_HOST_DEVICE(std::int64_t i) {
    const std::int64_t field = i / kFitLanes, n = count(field);
    saliency::PointSums sums;
    for (std::int64_t k = i % kFitLanes; k < n; k += kFitLanes) saliency::add(sums, points[field * kMostPoints + k]);
    work.lane_sums[i] = sums;
  });
  executor.for_each(fields, [=] OVE_HOST_DEVICE(std::int64_t field) {
    const std::int64_t n = count(field);
    if (n > 0) work.means[field] = saliency::mean_of(saliency::add_lanes(work.lane_sums + field * kFitLanes), n);
  });
  executor.for_each(fields * kFitLanes, [=] OVE_HOST_DEVICE(std::int64_t i) {
    const std::int64_t field = i / kFitLanes, n = count(field);
    saliency::PointProducts products;
    for (std::int64_t k = i % kFitLanes; k < n; k += kFitLanes) {
      saliency::add(products, points[field * kMostPoints + k], work.means[field]);
    }
    work.lane_products[i] = products;
  });
  executor.for_each(fields, [=] OVE_HOST_DEVICE(std::int64_t field) {
    const std::int64_t n = count(field);
    if (n == 0) return;
    const saliency::PointProducts& products = saliency::add_lanes(work.lane_products + field * kFitLanes);
    work.cameras[field] = saliency::camera_of(work.means[field], products, n, compensate);
  });
}

// Least-squares cameras of evenly strided samples that move; medians where those are few.
template <class Executor>
void fit_least_squares(Executor& executor, const Clip& clip) {
  using saliency::block_span;
  using saliency::Camera;
  using saliency::kMostPoints;
  using saliency::Point;
  fit_medians(executor, clip);
  const std::int64_t fields = clip.pictures * clip.tables.lists;
  const saliency::BlockGrid grid = clip.tables.grid;
  const ClipWork work = clip.work;
  const ClipArrays arrays = clip.arrays;
  const float *const u = clip.at(clip.tables.u), *const v = clip.at(clip.tables.v);
  // Moving samples in a line of each row of blocks.
  const auto moves = [=] OVE_HOST_DEVICE(std::int64_t field, int row, int column) {
    const std::int64_t i = (field * grid.rows + row) * grid.columns + column;
    return arrays.x[i] != 0 || arrays.y[i] != 0;
  };
  executor.for_each(fields * grid.rows, [=] OVE_HOST_DEVICE(std::int64_t i) {
    const std::int64_t field = i / grid.rows;
    const int row = static_cast<int>(i % grid.rows);
    const auto lines = block_span(row, grid.phase_y, grid.height);
    std::uint64_t samples = 0;
    for (int column = 0; column < grid.columns; ++column) {
      const auto span = block_span(column, grid.phase_x, grid.width);
      if (moves(field, row, column)) samples += static_cast<std::uint64_t>(span.end - span.begin);
    }
    work.row_samples[field * (grid.rows + 1) + row] = samples * static_cast<std::uint64_t>(lines.end - lines.begin);
  });
  executor.for_each(fields, [=] OVE_HOST_DEVICE(std::int64_t field) {
    std::uint64_t* const before = work.row_samples + field * (grid.rows + 1);
    std::uint64_t sum = 0;
    for (int row = 0; row < grid.rows; ++row) {
      const std::uint64_t samples = before[row];
      before[row] = sum;
      sum += samples;
    }
    before[grid.rows] = sum;
  });
  const auto count_points = [=] OVE_HOST_DEVICE(std::int64_t field) {
    const std::size_t samples = work.row_samples[field * (grid.rows + 1) + grid.rows];
    const std::size_t step = saliency::point_step(samples);
    return static_cast<std::int64_t>((samples + step - 1) / step);
  };
  executor.for_each(fields * kMostPoints, [=] OVE_HOST_DEVICE(std::int64_t i) {
    const std::int64_t field = i / kMostPoints, k = i % kMostPoints;
    const std::uint64_t* const before = work.row_samples + field * (grid.rows + 1);
    if (k >= count_points(field)) return;
    const std::uint64_t sample = static_cast<std::uint64_t>(k) * saliency::point_step(before[grid.rows]);
    int row = 0;  // the last one with before[row] <= sample that has samples
    for (int end = grid.rows; end - row > 1;) {
      const int middle = row + (end - row) / 2;
      (before[middle] <= sample ? row : end) = middle;
    }
    const auto lines = block_span(row, grid.phase_y, grid.height);
    const std::uint64_t in_line = (before[row + 1] - before[row]) / static_cast<std::uint64_t>(lines.end - lines.begin);
    const int y = lines.begin + static_cast<int>((sample - before[row]) / in_line);
    auto left = static_cast<int>((sample - before[row]) % in_line);
    for (int column = 0; column < grid.columns; ++column) {
      if (!moves(field, row, column)) continue;
      const auto span = block_span(column, grid.phase_x, grid.width);
      if (left < span.end - span.begin) {
        const std::int64_t block = (field * grid.rows + row) * grid.columns + column;
        work.points[i] = {u[span.begin + left], v[y], arrays.x[block], arrays.y[block]};
        return;
      }
      left -= span.end - span.begin;
    }
  });
  fit_to_points(executor, clip, work.points, [=] OVE_HOST_DEVICE(std::int64_t field) {
    const std::int64_t points = count_points(field);
    return points < saliency::kLeastPoints ? std::int64_t{0} : points;
  });
  // The points that this camera explains best; the first ones where several are equally good.
  executor.for_each(fields * kMostPoints, [=] OVE_HOST_DEVICE(std::int64_t i) {
    const std::int64_t field = i / kMostPoints, k = i % kMostPoints;
    std::uint64_t key = ~std::uint64_t{0};
    if (k < count_points(field)) {
      const Point p = work.points[i];
      const float error = saliency::magnitude(p.dx, p.dy, work.cameras[field], p.u, p.v);
      key = std::uint64_t{saliency::ordered_bits(error)} << 32 | static_cast<std::uint64_t>(k);
    }
    work.keys[i] = key;
  });
  executor.sort(work.keys, work.sorted, fields, fields * kMostPoints, Evenly{kMostPoints});
  executor.for_each(fields * kMostPoints, [=] OVE_HOST_DEVICE(std::int64_t i) {
    const std::int64_t field = i / kMostPoints, k = i % kMostPoints;
    if (k >= saliency::num_kept_points(count_points(field))) return;
    work.kept[i] = work.points[field * kMostPoints + static_cast<std::int64_t>(work.sorted[i] & 0xffffffffu)];
  });
  fit_to_points(executor, clip, work.kept, [=] OVE_HOST_DEVICE(std::int64_t field) {
    const std::int64_t points = count_points(field), kept = saliency::num_kept_points(points);
    return points < saliency::kLeastPoints || kept == points ? std::int64_t{0} : kept;
  });
}

// How many blocks of each picture take part.
template <class Executor>
void count_blocks(Executor& executor, const Clip& clip) {
  if (clip.arrays.intra == nullptr) return;
  executor.zero(clip.work.others, clip.pictures * static_cast<std::int64_t>(sizeof(*clip.work.others)));
  executor.count(Extent{clip.pictures, 1, clip.tables.blocks()}, 1, clip.work.others,
                 [=] OVE_HOST_DEVICE(std::int64_t p, std::int64_t, std::uint32_t i) {
                   return Binned{clip.counts(p, i) ? 0 : -1, 1};
                 });
}

// |v| of the blocks that have none, from that of the others, at their middles.
template <class Executor>
void fill_intra(Executor& executor, const Clip& clip) {
  if (clip.arrays.intra == nullptr) return;
  const saliency::IntraBlocks intra_blocks = clip.tables.params.intra_blocks;
  const ClipWork work = clip.work;
  if (intra_blocks == saliency::IntraBlocks::kZero) {
    executor.for_each(clip.pictures, [=] OVE_HOST_DEVICE(std::int64_t p) { work.fills[p] = 0; });
    return;
  }
  find_percentiles(
      executor, work.select, Extent{clip.pictures, 1, clip.tables.blocks()},
      [=] OVE_HOST_DEVICE(std::int64_t p) { return clip.counted(p); },
      intra_blocks == saliency::IntraBlocks::kMax ? 100.0 : 50.0,
      [=] OVE_HOST_DEVICE(std::int64_t p, std::int64_t, std::uint32_t i) {
        if (!clip.counts(p, i)) return Weighted{0, 0};
        const auto columns = static_cast<std::uint32_t>(clip.tables.grid.columns);
        const float u = clip.at(clip.tables.centre_u)[i % columns], v = clip.at(clip.tables.centre_v)[i / columns];
        return weighted(clip.block_motion(p, i, u, v));
      },
      [=] OVE_HOST_DEVICE(std::int64_t p, double found) {
        work.fills[p] = saliency::filled_magnitude(intra_blocks, found, static_cast<float>(found));
      });
}

// The camera of every picture and list.
template <class Executor>
void fit_cameras(Executor& executor, const Clip& clip) {
  using saliency::Compensate;
  const HeatTables& t = clip.tables;
  count_blocks(executor, clip);
  switch (t.params.compensate) {
    case Compensate::kNone: {
      saliency::Camera* const cameras = clip.work.cameras;
      executor.for_each(clip.pictures * t.lists,
                        [=] OVE_HOST_DEVICE(std::int64_t f) { cameras[f] = saliency::Camera(); });
      break;
    }
    case Compensate::kMedian:
      fit_medians(executor, clip);
      break;
    case Compensate::kMean:
      fit_means(executor, clip);
      break;
    case Compensate::kSimilarity:
    case Compensate::kAffine:
      fit_least_squares(executor, clip);
      break;
  }
}

}  // namespace ove::cuda
