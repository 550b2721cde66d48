// Heat and patch scores of the pictures of a clip, all of them at once: what saliency::Saliency computes, with the same
// formulas in the same order.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/host_device.h"
#include "cuda/heat_tables.h"
#include "cuda/percentiles.h"
#include "saliency/camera_fit.h"
#include "saliency/formulas.h"

namespace ove::cuda {

// The pictures of a clip as they were taken in. Arrays are by picture, then by list of vectors.
struct ClipArrays {
  float *x = nullptr, *y = nullptr;  // vectors of blocks, samples
  std::uint8_t* used = nullptr;      // by block, where both lists count
  std::uint8_t* levels = nullptr;    // |Y - 128| of the window
  float* bits = nullptr;             // log1p, by CTU

  ClipArrays() = default;
  ClipArrays(const HeatTables& t, std::int64_t pictures, Arena& arena) {
    if (t.motion) {
      x = arena.take<float>(pictures * t.lists * t.blocks());
      y = arena.take<float>(pictures * t.lists * t.blocks());
      if (t.lists > 1) used = arena.take<std::uint8_t>(pictures * t.blocks());
    }
    if (t.residual) levels = arena.take<std::uint8_t>(pictures * t.samples());
    if (t.bits) bits = arena.take<float>(pictures * t.ctus());
  }
};

// What is computed of them.
struct ClipWork {
  std::int64_t segments = 0;            // of percentiles: pictures, or one clip
  saliency::Camera* cameras = nullptr;  // by picture and list
  float* values = nullptr;              // |v| by block, where it is the same all over a block
  float* scales = nullptr;              // (pictures, 3): motion, residual, bits
  SelectWork select;
  std::uint64_t* row_samples = nullptr;  // moving ones before each row of blocks, and in all
  saliency::Point* points = nullptr;     // kMostPoints by picture and list
  saliency::Point* kept = nullptr;       // likewise
  std::uint64_t *keys = nullptr, *sorted = nullptr;
  float* columns = nullptr;    // sums down the rows of each patch row
  double* sums = nullptr;      // by patch, along the axes of the coded picture
  double* row_sums = nullptr;  // of each row of canvas samples of each patch

  ClipWork(const HeatTables& t, std::int64_t pictures, Arena& arena) {
    using saliency::Compensate;
    const std::int64_t fields = pictures * t.lists;
    segments = t.params.clip_scope ? 1 : pictures;
    cameras = arena.take<saliency::Camera>(fields);
    if (t.motion_in_blocks) values = arena.take<float>(pictures * t.blocks());
    scales = arena.take<float>(3 * pictures);
    select = SelectWork(2 * fields, arena);  // both components of the vectors
    const Compensate compensate = t.params.compensate;
    if (compensate == Compensate::kSimilarity || compensate == Compensate::kAffine) {
      row_samples = arena.take<std::uint64_t>(fields * (t.grid.rows + 1));
      points = arena.take<saliency::Point>(fields * saliency::kMostPoints);
      kept = arena.take<saliency::Point>(fields * saliency::kMostPoints);
      keys = arena.take<std::uint64_t>(fields * saliency::kMostPoints);
      sorted = arena.take<std::uint64_t>(fields * saliency::kMostPoints);
    }
    sums = arena.take<double>(pictures * t.patches());
    if (t.linear) {
      columns = arena.take<float>(pictures * most_columns(t));
    } else {
      row_sums = arena.take<double>(pictures * t.patches() * t.patch);
    }
  }

  static std::int64_t most_columns(const HeatTables& t) {
    const std::int64_t width = t.motion_cells.columns > t.window.width ? t.motion_cells.columns : t.window.width;
    return t.vertical.canvas / t.patch * width;
  }
};

// A clip at work: everything that a step reads.
struct Clip {
  HeatTables tables;
  const std::byte* block;  // the tables' memory
  ClipArrays arrays;
  ClipWork work;
  std::int64_t pictures;

  template <class T>
  OVE_HOST_DEVICE const T* at(const Table<T>& table) const {
    return reinterpret_cast<const T*>(block + table.offset);
  }

  OVE_HOST_DEVICE std::int64_t vector(std::int64_t picture, int list, std::int64_t block_index) const {
    return (picture * tables.lists + list) * tables.blocks() + block_index;
  }

  // |v| of a block less the camera, at coordinates of it.
  OVE_HOST_DEVICE float block_motion(std::int64_t picture, std::int64_t index, float u, float v) const {
    const auto measure = [&](int list) {
      const std::int64_t i = vector(picture, list, index);
      const saliency::Camera& camera = work.cameras[picture * tables.lists + list];
      return tables.motion_in_blocks ? saliency::magnitude(arrays.x[i], arrays.y[i], camera)
                                     : saliency::magnitude(arrays.x[i], arrays.y[i], camera, u, v);
    };
    const int used = tables.lists > 1 ? arrays.used[picture * tables.blocks() + index] : 1;
    if ((used & 2) == 0) return measure(0);
    return (used & 1) != 0 ? saliency::most(measure(0), measure(1)) : measure(1);
  }

  // |v| of a cell of the map, which is a block or a sample.
  OVE_HOST_DEVICE float motion(std::int64_t picture, int column, int row) const {
    if (tables.motion_in_blocks) return work.values[picture * tables.blocks() + row * tables.grid.columns + column];
    const saliency::BlockGrid& grid = tables.grid;
    const int block_row = (row + grid.phase_y) / 4, block_column = (column + grid.phase_x) / 4;
    return block_motion(picture, std::int64_t{block_row} * grid.columns + block_column, at(tables.u)[column],
                        at(tables.v)[row]);
  }

  // Of a sample of the window.
  OVE_HOST_DEVICE float motion_energy(std::int64_t picture, int x, int y, float weight) const {
    const int column = at(tables.motion_cells.column_of)[x], row = at(tables.motion_cells.row_of)[y];
    return saliency::energy(motion(picture, column, row), work.scales[3 * picture], weight);
  }
  OVE_HOST_DEVICE float residual_energy(std::int64_t picture, int x, int y, float weight) const {
    const std::uint8_t level = arrays.levels[picture * tables.samples() + std::int64_t{y} * tables.window.width + x];
    return saliency::energy(static_cast<float>(level), work.scales[3 * picture + 1], weight);
  }
  OVE_HOST_DEVICE float bits_energy(std::int64_t picture, int x, int y, float weight) const {
    const CellTable& cells = tables.bits_cells;
    const std::int64_t ctu = std::int64_t{at(cells.row_of)[y]} * cells.columns + at(cells.column_of)[x];
    return saliency::energy(arrays.bits[picture * tables.ctus() + ctu], work.scales[3 * picture + 2], weight);
  }

  // The fused heat of a sample of the window.
  OVE_HOST_DEVICE float fused(std::int64_t picture, int x, int y) const {
    const saliency::HeatParams& p = tables.params;
    const auto weight = [&](double of_energy) {
      return p.fuse == saliency::Fuse::kWeighted ? static_cast<float>(of_energy) : 1.0f;
    };
    float heat = 0;
    int count = 0;
    const auto add = [&](float energy) { heat = count++ == 0 ? energy : saliency::fold(p.fuse, heat, energy); };
    if (tables.motion) add(motion_energy(picture, x, y, weight(p.mv_weight)));
    if (tables.residual) add(residual_energy(picture, x, y, weight(p.residual_weight)));
    if (tables.bits) add(bits_energy(picture, x, y, weight(p.bits_weight)));
    heat = saliency::folded(p.fuse, heat, count);
    if (p.center_prior > 0) {
      const float strength = static_cast<float>(p.center_prior) * at(tables.prior_y)[y];
      heat = saliency::with_prior(heat, strength, at(tables.prior_x)[x]);
    }
    return p.quantize ? saliency::quantized(heat) : heat;
  }

  // The heat at a sample of the canvas, along the axes of the coded picture.
  OVE_HOST_DEVICE float canvas(std::int64_t picture, int x, int y) const {
    const AxisTable &down = tables.vertical, &across = tables.horizontal;
    const float* const weight_y = at(down.weight) + std::int64_t{y} * down.taps;
    const float* const weight_x = at(across.weight) + std::int64_t{x} * across.taps;
    float part[4] = {};
    for (int k = 0; k < across.taps; ++k) {
      if (weight_x[k] == 0.0f) continue;
      float line = 0;
      for (int j = 0; j < down.taps; ++j) {
        if (weight_y[j] == 0.0f) continue;
        line += weight_y[j] * fused(picture, at(across.first)[x] + k, at(down.first)[y] + j);
      }
      part[k] = weight_x[k] * line;
    }
    const float heat = across.taps == 2 ? part[0] + part[1] : (part[0] + part[1]) + (part[2] + part[3]);
    if (tables.params.quantize) return saliency::saturated(heat);
    return tables.params.interpolation == saliency::Interpolation::kCubic ? saliency::most(heat, 0.0f) : heat;
  }
};

static_assert(sizeof(Clip) <= 2048);  // a kernel's arguments hold it, and 4096 bytes in all

// Takes a picture in: from its record, in the executor's memory, to the clip's arrays.
template <class Executor>
void take_in(Executor& executor, const HeatTables& t, const RecordSizes& sizes, const std::byte* record,
             const ClipArrays& arrays, std::int64_t picture) {
  using saliency::Vector;
  using saliency::VectorMode;
  if (t.motion) {
    const auto* mv = reinterpret_cast<const std::int16_t*>(record + t.record.mv);
    const auto* pred = reinterpret_cast<const std::uint8_t*>(record + t.record.pred);
    const auto* ref_poc = reinterpret_cast<const std::int32_t*>(record + t.record.ref_poc);
    const VectorMode mode = t.params.vector;
    const std::int64_t blocks = t.blocks(), first = picture * t.lists * blocks, first_used = picture * blocks;
    const int lists = t.lists;
    const std::int32_t poc = sizes.poc;
    executor.for_each(blocks, [=] OVE_HOST_DEVICE(std::int64_t i) {
      for (int list = 0; list < lists; ++list) {
        const Vector v = mode == VectorMode::kDisplacement
                             ? saliency::displacement(mv + 4 * i, pred[i], ref_poc + 2 * i, poc)
                             : saliency::list_vector(mv + 4 * i, pred[i], list, mode == VectorMode::kL0ElseL1);
        arrays.x[first + list * blocks + i] = v.x;
        arrays.y[first + list * blocks + i] = v.y;
      }
      if (lists > 1) arrays.used[first_used + i] = pred[i] & 3;
    });
  }
  if (t.bits) {
    const auto* bits = reinterpret_cast<const float*>(record + t.record.bits);
    float* const to = arrays.bits + picture * t.ctus();
    executor.for_each(t.ctus(), [=] OVE_HOST_DEVICE(std::int64_t i) { to[i] = bits[i]; });
  }
  if (t.residual) {
    std::uint8_t* const to = arrays.levels + picture * t.samples();
    executor.zero(to, t.samples());
    const auto* blocks = reinterpret_cast<const LevelBlock*>(record + t.record.level_blocks);
    const auto* levels = reinterpret_cast<const std::uint8_t*>(record + sizes.levels);
    const std::int64_t width = t.window.width;
    constexpr int kShares = 32;  // of the samples of a block
    executor.for_each(sizes.level_blocks * kShares, [=] OVE_HOST_DEVICE(std::int64_t i) {
      const LevelBlock block = blocks[i / kShares];
      for (int k = static_cast<int>(i % kShares); k < block.width * block.height; k += kShares) {
        to[(block.y + k / block.width) * width + block.x + k % block.width] = levels[block.offset + k];
      }
    });
  }
}

// Medians of the vectors' components: a camera that translates.
template <class Executor>
void fit_medians(Executor& executor, const Clip& clip) {
  const std::int64_t fields = clip.pictures * clip.tables.lists, blocks = clip.tables.blocks();
  double* const medians = clip.work.select.percentiles;
  saliency::Camera* const cameras = clip.work.cameras;
  const ClipArrays arrays = clip.arrays;
  find_percentiles(
      executor, clip.work.select, 2 * fields, blocks, static_cast<std::uint64_t>(blocks), 50.0,
      [=] OVE_HOST_DEVICE(std::int64_t s, std::int64_t i) {
        return Weighted{(s % 2 == 0 ? arrays.x : arrays.y)[s / 2 * blocks + i], 1};
      },
      medians);
  executor.for_each(fields, [=] OVE_HOST_DEVICE(std::int64_t f) {
    saliency::Camera camera;
    camera.x0 = static_cast<float>(medians[2 * f]);
    camera.y0 = static_cast<float>(medians[2 * f + 1]);
    cameras[f] = camera;
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
  const ClipArrays arrays = clip.arrays;
  executor.for_each(fields * kShares, [=] OVE_HOST_DEVICE(std::int64_t i) {
    const std::int64_t first = i / kShares * blocks;
    double x = 0, y = 0;
    for (std::int64_t k = i % kShares; k < blocks; k += kShares) {
      x += static_cast<double>(arrays.x[first + k]);
      y += static_cast<double>(arrays.y[first + k]);
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
    camera.x0 = static_cast<float>(x / static_cast<double>(blocks));
    camera.y0 = static_cast<float>(y / static_cast<double>(blocks));
    cameras[f] = camera;
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
  const saliency::Compensate compensate = clip.tables.params.compensate;
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
  executor.for_each(fields, [=] OVE_HOST_DEVICE(std::int64_t field) {
    const std::int64_t points = count_points(field);
    if (points < saliency::kLeastPoints) return;
    work.cameras[field] = saliency::fit_points(work.points + field * kMostPoints, points, compensate);
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
  executor.sort(work.keys, work.sorted, fields, kMostPoints);
  executor.for_each(fields * kMostPoints, [=] OVE_HOST_DEVICE(std::int64_t i) {
    const std::int64_t field = i / kMostPoints, k = i % kMostPoints;
    if (k >= saliency::num_kept_points(count_points(field))) return;
    work.kept[i] = work.points[field * kMostPoints + static_cast<std::int64_t>(work.sorted[i] & 0xffffffffu)];
  });
  executor.for_each(fields, [=] OVE_HOST_DEVICE(std::int64_t field) {
    const std::int64_t points = count_points(field), kept = saliency::num_kept_points(points);
    if (points < saliency::kLeastPoints || kept == points) return;
    work.cameras[field] = saliency::fit_points(work.kept + field * kMostPoints, kept, compensate);
  });
}

// Cameras and |v|.
template <class Executor>
void measure_motion(Executor& executor, const Clip& clip) {
  using saliency::Compensate;
  const HeatTables& t = clip.tables;
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
  if (!t.motion_in_blocks) return;
  executor.for_each(clip.pictures * t.blocks(), [=] OVE_HOST_DEVICE(std::int64_t i) {
    const std::int64_t blocks = clip.tables.blocks();
    clip.work.values[i] = clip.block_motion(i / blocks, i % blocks, 0, 0);
  });
}

// Percentiles of one energy, and its scale in every picture. value(i) gives the i-th of n values a picture.
template <class Executor, class Value>
void set_scales(Executor& executor, const Clip& clip, int energy, std::int64_t n, std::uint64_t total, double floor,
                Value value) {
  const ClipWork work = clip.work;
  const std::int64_t pictures = clip.pictures;
  const std::int64_t per_segment = pictures / work.segments;
  find_percentiles(
      executor, work.select, work.segments, per_segment * n, static_cast<std::uint64_t>(per_segment) * total,
      clip.tables.params.percentile,
      [=] OVE_HOST_DEVICE(std::int64_t s, std::int64_t i) { return value(s * per_segment * n + i); },
      work.select.percentiles);
  executor.for_each(pictures, [=] OVE_HOST_DEVICE(std::int64_t p) {
    work.scales[3 * p + energy] = saliency::scale_of(work.select.percentiles[p / per_segment], floor);
  });
}

// With clip_scope, vectors and bits count to 17 significant bits (saliency::MagnitudeHistogram).
template <class Executor>
void measure(Executor& executor, const Clip& clip) {
  const HeatTables& t = clip.tables;
  const bool clip_scope = t.params.clip_scope;
  const auto rounded = [=] OVE_HOST_DEVICE(float value) {
    return clip_scope ? saliency::magnitude_of_bin(saliency::magnitude_bin(value)) : value;
  };
  if (t.motion) {
    measure_motion(executor, clip);
    const std::int64_t columns = t.motion_cells.columns, n = columns * t.motion_cells.rows;
    set_scales(executor, clip, 0, n, static_cast<std::uint64_t>(n), saliency::kLeastMotion,
               [=] OVE_HOST_DEVICE(std::int64_t i) {
                 const std::int64_t cell = i % n;
                 const float value =
                     clip.motion(i / n, static_cast<int>(cell % columns), static_cast<int>(cell / columns));
                 return Weighted{rounded(value), 1};
               });
  }
  if (t.residual) {
    const std::uint8_t* const levels = clip.arrays.levels;
    set_scales(executor, clip, 1, t.samples(), static_cast<std::uint64_t>(t.samples()), saliency::kLeastResidual,
               [=] OVE_HOST_DEVICE(std::int64_t i) {
                 return Weighted{static_cast<float>(levels[i]), 1};
               });
  }
  if (t.bits) {
    const float* const bits = clip.arrays.bits;
    const std::uint32_t* const samples = clip.at(t.bits_samples);
    const std::int64_t ctus = t.ctus();
    set_scales(executor, clip, 2, ctus, static_cast<std::uint64_t>(t.samples()), saliency::kLeastBits,
               [=] OVE_HOST_DEVICE(std::int64_t i) {
                 return Weighted{rounded(bits[i]), samples[i % ctus]};
               });
  }
}

// sums += weight * (vertical . E . horizontal^T) with E = at(picture, row, column), which it may add to a sum itself:
// add(sum, picture, column, row, weight of the row).
template <class Executor, class Add>
void add_products(Executor& executor, const Clip& clip, const SumsTable& vertical, const SumsTable& horizontal,
                  std::int64_t columns, double weight, Add add) {
  const std::int64_t patch_rows = vertical.count, patch_columns = horizontal.count;
  float* const sums_down = clip.work.columns;
  double* const sums = clip.work.sums;
  const std::int32_t *const begin_y = clip.at(vertical.begin), *const offset_y = clip.at(vertical.offset);
  const float* const weight_y = clip.at(vertical.weight);
  executor.for_each(clip.pictures * patch_rows * columns, [=] OVE_HOST_DEVICE(std::int64_t i) {
    const int column = static_cast<int>(i % columns);
    const std::int64_t p = i / columns % patch_rows, picture = i / columns / patch_rows;
    float sum = 0;
    for (std::int32_t k = offset_y[p]; k < offset_y[p + 1]; ++k) {
      add(sum, picture, column, begin_y[p] + (k - offset_y[p]), weight_y[k]);
    }
    sums_down[i] = sum;
  });
  const std::int32_t *const begin_x = clip.at(horizontal.begin), *const offset_x = clip.at(horizontal.offset);
  const float* const weight_x = clip.at(horizontal.weight);
  executor.for_each(clip.pictures * patch_rows * patch_columns, [=] OVE_HOST_DEVICE(std::int64_t i) {
    const std::int64_t q = i % patch_columns;
    const float* const row = sums_down + i / patch_columns * columns;
    sums[i] += weight * saliency::dot(row + begin_x[q], weight_x + offset_x[q], offset_x[q + 1] - offset_x[q]);
  });
}

// Patch sums where heat is linear in the energies.
template <class Executor>
void sum_linear(Executor& executor, const Clip& clip) {
  const HeatTables& t = clip.tables;
  executor.zero(clip.work.sums, clip.pictures * t.patches() * static_cast<std::int64_t>(sizeof(double)));
  if (t.motion && t.motion_in_blocks) {
    add_products(executor, clip, t.motion_vertical, t.motion_horizontal, t.motion_cells.columns, t.params.mv_weight,
                 [=] OVE_HOST_DEVICE(float& sum, std::int64_t picture, int column, int row, float weight) {
                   const float scale = clip.work.scales[3 * picture];
                   sum += weight * saliency::energy(clip.motion(picture, column, row), scale, 1.0f);
                 });
  }
  if (t.bits) {
    add_products(executor, clip, t.bits_vertical, t.bits_horizontal, t.bits_cells.columns, t.params.bits_weight,
                 [=] OVE_HOST_DEVICE(float& sum, std::int64_t picture, int column, int row, float weight) {
                   const HeatTables& tables = clip.tables;
                   const float bits =
                       clip.arrays.bits[picture * tables.ctus() + row * tables.bits_cells.columns + column];
                   sum += weight * saliency::energy(bits, clip.work.scales[3 * picture + 2], 1.0f);
                 });
  }
  if (t.residual || (t.motion && !t.motion_in_blocks)) {
    const bool motion = t.motion && !t.motion_in_blocks;
    const auto mv_weight = static_cast<float>(t.params.mv_weight);
    const auto residual_weight = static_cast<float>(t.params.residual_weight);
    add_products(executor, clip, t.sample_vertical, t.sample_horizontal, t.window.width, 1.0,
                 [=] OVE_HOST_DEVICE(float& sum, std::int64_t picture, int x, int y, float weight) {
                   if (weight == 0.0f) return;
                   if (motion) sum += weight * clip.motion_energy(picture, x, y, mv_weight);
                   if (clip.tables.residual) sum += clip.residual_energy(picture, x, y, weight * residual_weight);
                 });
  }
}

// Patch sums of the rendered canvas.
template <class Executor>
void sum_canvas(Executor& executor, const Clip& clip) {
  const HeatTables& t = clip.tables;
  const std::int64_t patches = t.patches();
  const int patch = t.patch, columns = t.horizontal.canvas / patch;
  const bool upward = t.vertical.reversed;
  executor.for_each(clip.pictures * patches * patch, [=] OVE_HOST_DEVICE(std::int64_t i) {
    const int line = static_cast<int>(i % patch), p = static_cast<int>(i / patch % patches);
    const int y = p / columns * patch + (upward ? patch - 1 - line : line), x = p % columns * patch;
    double sum = 0;
    for (int k = 0; k < patch; ++k) sum += static_cast<double>(clip.canvas(i / patch / patches, x + k, y));
    clip.work.row_sums[i] = sum;
  });
  executor.for_each(clip.pictures * patches, [=] OVE_HOST_DEVICE(std::int64_t i) {
    double sum = 0;
    for (int line = 0; line < patch; ++line) sum += clip.work.row_sums[i * patch + line];
    clip.work.sums[i] = sum;
  });
}

// Scores of all pictures of the clip, (pictures, rows, columns) in display orientation, after measure().
template <class Executor>
void score(Executor& executor, const Clip& clip, float* scores) {
  clip.tables.linear ? sum_linear(executor, clip) : sum_canvas(executor, clip);
  executor.for_each(clip.pictures * clip.tables.patches(), [=] OVE_HOST_DEVICE(std::int64_t i) {
    const HeatTables& t = clip.tables;
    const std::int64_t patches = t.patches(), picture = i / patches, patch = i % patches;
    const std::int64_t row = patch / t.columns, column = patch % t.columns;
    const std::int64_t from = t.swapped ? column * t.rows + row : patch;
    scores[i] = saliency::score_of(clip.work.sums[picture * patches + from], t.full_score, t.params.quantize);
  });
}

// The heat of one picture on the canvas, in display orientation, after measure().
template <class Executor>
void render(Executor& executor, const Clip& clip, std::int64_t picture, float* canvas) {
  const std::int64_t width = std::int64_t{clip.tables.columns} * clip.tables.patch;
  const std::int64_t height = std::int64_t{clip.tables.rows} * clip.tables.patch;
  executor.for_each(width * height, [=] OVE_HOST_DEVICE(std::int64_t i) {
    const int x = static_cast<int>(i % width), y = static_cast<int>(i / width);
    canvas[i] = clip.tables.swapped ? clip.canvas(picture, y, x) : clip.canvas(picture, x, y);
  });
}

}  // namespace ove::cuda
