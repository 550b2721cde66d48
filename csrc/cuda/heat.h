// Heat and patch scores of the pictures of a clip, all of them at once: what saliency::Saliency computes, with the same
// formulas in the same order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "common/host_device.h"
#include "cuda/cameras.h"
#include "cuda/clip.h"
#include "cuda/heat_tables.h"
#include "cuda/percentiles.h"
#include "cuda/residual.h"
#include "cuda/variance.h"
#include "saliency/formulas.h"

namespace ove::cuda {

// Takes a picture in: from its record, in the executor's memory, to the clip's arrays. `tables` is the memory of
// HeatPlan::block().
template <class Executor>
void take_in(Executor& executor, const HeatTables& t, const std::byte* tables, const RecordSizes& sizes,
             const std::byte* record, const ClipArrays& arrays, std::int64_t picture) {
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
    const bool intra_picture = sizes.intra != 0;
    executor.for_each(blocks, [=] OVE_HOST_DEVICE(std::int64_t i) {
      for (int list = 0; list < lists; ++list) {
        const Vector v = mode == VectorMode::kDisplacement
                             ? saliency::displacement(mv + 4 * i, pred[i], ref_poc + 2 * i, poc)
                             : saliency::list_vector(mv + 4 * i, pred[i], list, mode == VectorMode::kL0ElseL1);
        arrays.x[first + list * blocks + i] = v.x;
        arrays.y[first + list * blocks + i] = v.y;
      }
      if (lists > 1) arrays.used[first_used + i] = pred[i] & 3;
      if (arrays.intra != nullptr) arrays.intra[first_used + i] = !intra_picture && saliency::is_intra_block(pred[i]);
    });
  }
  if (t.bits) {
    const auto* bits = reinterpret_cast<const std::int32_t*>(record + t.record.bits);
    std::int32_t* const to = arrays.bits + picture * t.ctus();
    executor.for_each(t.ctus(), [=] OVE_HOST_DEVICE(std::int64_t i) { to[i] = bits[i]; });
  }
  if (t.residual) {
    std::uint8_t* const to = arrays.levels + picture * t.samples();
    executor.zero(to, t.samples());
    if (sizes.sparse_blocks > 0) take_coefficients(executor, t, tables, sizes, record, arrays, to);
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

// Cameras, and the map of motion where it is kept.
template <class Executor>
void measure_motion(Executor& executor, const Clip& clip) {
  fit_cameras(executor, clip);
  fill_intra(executor, clip);
  const HeatTables& t = clip.tables;
  if (t.params.local_variance > 0) return measure_variance(executor, clip);
  if (!t.motion_in_blocks) return;
  executor.for_each(clip.pictures * t.blocks(), [=] OVE_HOST_DEVICE(std::int64_t i) {
    const std::int64_t blocks = clip.tables.blocks();
    clip.work.values[i] = clip.block_motion(i / blocks, i % blocks, 0, 0);
  });
}

// Pictures [first, end) that were taken in, one after the other in display order.
struct Run {
  std::int64_t first, end;
};

// The values of `n` places after the pictures of a run, from what they were before: value(picture, place). They are
// added in the order of the pictures, as Sum.
template <class Sum, class Executor, class T, class Value>
void accumulate_values(Executor& executor, saliency::Accumulate accumulate, const Run& run, std::int64_t n, T* so_far,
                       Value value) {
  const std::int64_t first = run.first, end = run.end;
  executor.for_each(n, [=] OVE_HOST_DEVICE(std::int64_t i) {
    auto sum = static_cast<Sum>(so_far[i]);
    for (std::int64_t p = first; p < end; ++p) sum = saliency::accumulated(accumulate, sum, value(p, i));
    so_far[i] = static_cast<T>(sum);
  });
}

// Has pictures that were taken in count for sampled ones: picture i for number sampled[i] of the sums, ascending. All
// of them are measured at once.
template <class Executor>
void accumulate(Executor& executor, const Clip& clip, const ClipSums& sums, std::span<const std::int64_t> sampled) {
  const HeatTables& t = clip.tables;
  const saliency::Accumulate how = t.params.accumulate;
  const std::int64_t cells = t.cells(), samples = t.samples(), ctus = t.ctus();
  if (t.motion) measure_motion(executor, clip);
  Run run{0, 0};
  for (; run.first < clip.pictures; run.first = run.end) {
    const std::int64_t to = sampled[static_cast<std::size_t>(run.first)];
    for (run.end = run.first; run.end < clip.pictures && sampled[static_cast<std::size_t>(run.end)] == to;) ++run.end;
    if (t.motion) {
      accumulate_values<float>(executor, how, run, cells, sums.motion + to * cells,
                               [=] OVE_HOST_DEVICE(std::int64_t p, std::int64_t i) {
                                 const std::int64_t columns = clip.tables.motion_cells.columns;
                                 return clip.motion(p, static_cast<int>(i % columns), static_cast<int>(i / columns));
                               });
    }
    if (t.residual) {
      const auto level = [=] OVE_HOST_DEVICE(std::int64_t p, std::int64_t i) { return clip.residual(p * samples + i); };
      if (sums.residual != nullptr) {
        accumulate_values<float>(executor, how, run, samples, sums.residual + to * samples, level);
      } else {
        accumulate_values<float>(executor, how, run, samples, sums.levels + to * samples, level);
      }
    }
    if (t.bits) {
      accumulate_values<std::int64_t>(
          executor, how, run, ctus, sums.bits + to * ctus,
          [=] OVE_HOST_DEVICE(std::int64_t p, std::int64_t i) { return clip.bits(p * ctus + i); });
    }
  }
}

// The scale of one energy in every picture, from the percentiles found last.
template <class Executor>
void set_scales(Executor& executor, const Clip& clip, int energy, double floor) {
  const ClipWork work = clip.work;
  const std::int64_t pictures = clip.pictures / clip.segments();  // of a segment
  executor.for_each(clip.pictures, [=] OVE_HOST_DEVICE(std::int64_t p) {
    work.scales[3 * p + energy] = saliency::scale_of(work.select.percentiles[p / pictures], floor);
  });
}

// The scales of all energies. With clip_scope, all values but levels count to 17 significant bits
// (saliency::MagnitudeHistogram).
template <class Executor>
void find_scales(Executor& executor, const Clip& clip) {
  const HeatTables& t = clip.tables;
  const SelectWork& select = clip.work.select;
  const std::int64_t segments = clip.segments(), pictures = clip.pictures / segments;
  const bool clip_scope = t.params.clip_scope;
  const double q = t.params.percentile;
  const auto rounded = [=] OVE_HOST_DEVICE(float value) {
    return clip_scope ? saliency::magnitude_of_bin(saliency::magnitude_bin(value)) : value;
  };
  if (t.motion) {
    const std::int64_t columns = t.motion_cells.columns, n = t.cells();
    const auto value = [=] OVE_HOST_DEVICE(std::int64_t s, std::int64_t i) {
      const std::int64_t picture = s * pictures + i / n, cell = i % n;
      return weighted(
          rounded(clip.motion(picture, static_cast<int>(cell % columns), static_cast<int>(cell / columns))));
    };
    find_percentiles(executor, select, segments, pictures * n, Always{static_cast<std::uint64_t>(pictures * n)}, q,
                     value, select.percentiles);
    set_scales(executor, clip, 0, saliency::kLeastMotion);
  }
  const std::int64_t n = pictures * t.samples();
  if (t.residual && clip.residual_sums != nullptr) {
    const float* const sums = clip.residual_sums;
    const auto value = [=] OVE_HOST_DEVICE(std::int64_t s, std::int64_t i) {
      return weighted(rounded(sums[s * n + i]));
    };
    find_percentiles(executor, select, segments, n, Always{static_cast<std::uint64_t>(n)}, q, value,
                     select.percentiles);
    set_scales(executor, clip, 1, saliency::kLeastResidual);
  } else if (t.residual) {
    const std::uint8_t* const levels = clip.arrays.levels;
    const auto value = [=] OVE_HOST_DEVICE(std::int64_t s, std::int64_t i) { return Weighted{levels[s * n + i], 1}; };
    find_percentiles(
        executor, select, segments, n, Always{static_cast<std::uint64_t>(n)}, q, 8, value,
        [] OVE_HOST_DEVICE(std::uint32_t level) { return static_cast<double>(level); }, select.percentiles);
    set_scales(executor, clip, 1, saliency::kLeastResidual);
  }
  if (t.bits) {
    float* const bits = clip.work.bits;
    executor.for_each(clip.pictures * t.ctus(),
                      [=] OVE_HOST_DEVICE(std::int64_t i) { bits[i] = saliency::value_of_bits(clip.bits(i)); });
    const std::uint32_t* const samples = clip.at(t.bits_samples);
    const std::int64_t ctus = t.ctus();
    const auto value = [=] OVE_HOST_DEVICE(std::int64_t s, std::int64_t i) {
      return weighted(rounded(bits[s * pictures * ctus + i]), samples[i % ctus]);
    };
    find_percentiles(executor, select, segments, pictures * ctus,
                     Always{static_cast<std::uint64_t>(pictures * t.samples())}, q, value, select.percentiles);
    set_scales(executor, clip, 2, saliency::kLeastBits);
  }
}

// All that scores of pictures taken in are made with.
template <class Executor>
void measure(Executor& executor, const Clip& clip) {
  if (clip.tables.motion) measure_motion(executor, clip);
  find_scales(executor, clip);
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
  if (t.motion && t.motion_in_map) {
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
                       clip.work.bits[picture * tables.ctus() + row * tables.bits_cells.columns + column];
                   sum += weight * saliency::energy(bits, clip.work.scales[3 * picture + 2], 1.0f);
                 });
  }
  if (t.residual || (t.motion && !t.motion_in_map)) {
    const bool motion = t.motion && !t.motion_in_map;
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

// Scores of all pictures of the clip, (pictures, rows, columns) in display orientation, after measure() or, of sampled
// pictures that accumulate, find_scales().
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

// The heat of one of these pictures on the canvas, in display orientation.
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
