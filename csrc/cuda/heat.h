// Heat and patch scores of the pictures of a clip, all of them at once: what saliency::Saliency computes, with the same
// formulas in the same order.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/host_device.h"
#include "cuda/cameras.h"
#include "cuda/clip.h"
#include "cuda/heat_tables.h"
#include "cuda/percentiles.h"
#include "cuda/variance.h"
#include "saliency/formulas.h"

namespace ove::cuda {

// Takes pictures in, from where `records` say that they lie, as numbers `first` on of the clip's arrays. No record has
// more than `most_level_blocks` of them. All pointers are of the executor's memory.
template <class Executor>
void take_in(Executor& executor, const HeatTables& t, const PictureRecord* records, std::int64_t count,
             std::int64_t most_level_blocks, const ClipArrays& arrays, std::int64_t first) {
  using saliency::Vector;
  using saliency::VectorMode;
  if (arrays.sampled != nullptr) {
    executor.for_each(count, [=] OVE_HOST_DEVICE(std::int64_t k) { arrays.sampled[first + k] = records[k].sampled; });
  }
  if (t.motion) {
    const VectorMode mode = t.params.vector;
    const std::int64_t blocks = t.blocks(), columns = t.grid.columns, lists = t.lists;
    executor.for_each(count * blocks, [=] OVE_HOST_DEVICE(std::int64_t i) {
      const PictureRecord& record = records[i / blocks];
      const std::int64_t block = i % blocks, picture = first + i / blocks;
      const std::int64_t from = block / columns * record.block_stride + block % columns;
      const std::int16_t* const mv = record.mv + 4 * from;
      const std::uint8_t pred = record.pred != nullptr ? record.pred[from] : saliency::used_lists(mv);
      for (std::int64_t list = 0; list < lists; ++list) {
        const Vector v = mode == VectorMode::kDisplacement
                             ? saliency::displacement(mv, pred, record.ref_poc + 2 * from, record.poc)
                             : saliency::list_vector(mv, pred, static_cast<int>(list), mode == VectorMode::kL0ElseL1);
        arrays.x[(picture * lists + list) * blocks + block] = v.x;
        arrays.y[(picture * lists + list) * blocks + block] = v.y;
      }
      if (lists > 1) arrays.used[picture * blocks + block] = pred & 3;
      if (arrays.intra != nullptr) {
        arrays.intra[picture * blocks + block] = record.intra == 0 && saliency::is_intra_block(pred);
      }
    });
  }
  if (t.bits) {
    const std::int64_t ctus = t.ctus(), columns = t.bits_cells.columns;
    executor.for_each(count * ctus, [=] OVE_HOST_DEVICE(std::int64_t i) {
      const PictureRecord& record = records[i / ctus];
      const std::int32_t bits = record.bits[i % ctus / columns * record.bits_stride + i % ctus % columns];
      arrays.bits[first * ctus + i] = bits > 0 ? bits : 0;
    });
  }
  if (!t.residual) return;
  const std::int64_t samples = t.samples(), width = t.window.width;
  std::uint8_t* const levels = arrays.levels + first * samples;
  executor.for_each(count * samples, [=] OVE_HOST_DEVICE(std::int64_t i) {
    const PictureRecord& record = records[i / samples];
    if (record.residual == nullptr) {
      levels[i] = 0;
      return;
    }
    const std::int64_t at = i % samples;
    const int value = record.residual[at / width * record.residual_stride + at % width];
    levels[i] = static_cast<std::uint8_t>(saliency::residual_level(value >> (record.bit_depth - 8)));
  });
  constexpr int kShares = 32;  // of the samples of a block
  executor.for_each(count * most_level_blocks * kShares, [=] OVE_HOST_DEVICE(std::int64_t i) {
    const std::int64_t picture = i / kShares / most_level_blocks, number = i / kShares % most_level_blocks;
    const PictureRecord& record = records[picture];
    if (number >= record.level_block_count) return;
    const LevelBlock block = record.level_blocks[number];
    std::uint8_t* const to = levels + picture * samples;
    for (int k = static_cast<int>(i % kShares); k < block.width * block.height; k += kShares) {
      to[(block.y + k / block.width) * width + block.x + k % block.width] = record.levels[block.offset + k];
    }
  });
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

// The values of `n` places of each of the sampled pictures [first, end), from what they were before: value(picture,
// place) of each of the pictures taken in that count for it, in their order, added as Sum. `sampled` tells of each of
// the `pictures` which one it counts for, ascending.
template <class Sum, class Executor, class T, class Value>
void accumulate_values(Executor& executor, saliency::Accumulate accumulate, const std::int32_t* sampled,
                       std::int64_t pictures, std::int64_t first, std::int64_t end, std::int64_t n, T* so_far,
                       Value value) {
  executor.for_each((end - first) * n, [=] OVE_HOST_DEVICE(std::int64_t i) {
    const std::int64_t to = first + i / n;
    std::int64_t picture = 0;  // the first one that counts for `to`
    for (std::int64_t after = pictures; picture < after;) {
      const std::int64_t middle = picture + (after - picture) / 2;
      if (sampled[middle] < to) {
        picture = middle + 1;
      } else {
        after = middle;
      }
    }
    T& place = so_far[to * n + i % n];
    auto sum = static_cast<Sum>(place);
    for (; picture < pictures && sampled[picture] == to; ++picture) {
      sum = saliency::accumulated(accumulate, sum, value(picture, i % n));
    }
    place = static_cast<T>(sum);
  });
}

// Clears the sums of all sampled pictures for which there is room.
template <class Executor>
void clear_sums(Executor& executor, const HeatTables& t, const ClipSums& sums, std::int64_t sampled) {
  const auto clear = [&]<class T>(T* values, std::int64_t n) {
    if (values != nullptr) executor.zero(values, sampled * n * static_cast<std::int64_t>(sizeof(T)));
  };
  clear(sums.motion, t.cells());
  clear(sums.residual, t.samples());
  clear(sums.levels, t.samples());
  clear(sums.bits, t.ctus());
}

// Adds the pictures taken in to the sampled pictures [first, end) that they count for.
template <class Executor>
void accumulate(Executor& executor, const Clip& clip, const ClipSums& sums, std::int64_t first, std::int64_t end) {
  const HeatTables& t = clip.tables;
  const auto add = [&]<class Sum, class T>(Sum, std::int64_t n, T* so_far, auto value) {
    accumulate_values<Sum>(executor, t.params.accumulate, clip.arrays.sampled, clip.pictures, first, end, n, so_far,
                           value);
  };
  if (t.motion) {
    measure_motion(executor, clip);
    add(float{}, t.cells(), sums.motion,
        [=] OVE_HOST_DEVICE(std::int64_t p, std::int64_t i) { return clip.motion(p, static_cast<std::uint32_t>(i)); });
  }
  if (t.residual) {
    const std::int64_t samples = t.samples();
    const auto level = [=] OVE_HOST_DEVICE(std::int64_t p, std::int64_t i) { return clip.residual(p * samples + i); };
    if (sums.residual != nullptr) {
      add(float{}, samples, sums.residual, level);
    } else {
      add(float{}, samples, sums.levels, level);
    }
  }
  if (t.bits) {
    const std::int64_t ctus = t.ctus();
    add(std::int64_t{}, ctus, sums.bits,
        [=] OVE_HOST_DEVICE(std::int64_t p, std::int64_t i) { return clip.bits(p * ctus + i); });
  }
}

// Of one energy: the scale of the pictures of a segment.
struct StoreScale {
  float* scales;
  std::int64_t pictures;  // of a segment
  double floor;

  OVE_HOST_DEVICE void operator()(std::int64_t segment, double percentile) const {
    const float scale = saliency::scale_of(percentile, floor);
    for (std::int64_t p = segment * pictures; p < (segment + 1) * pictures; ++p) scales[3 * p] = scale;
  }
};

// The scales of all energies. With clip_scope, all values but levels count to 17 significant bits
// (saliency::MagnitudeHistogram).
template <class Executor>
void find_scales(Executor& executor, const Clip& clip) {
  const HeatTables& t = clip.tables;
  const SelectWork& select = clip.work.select;
  const std::int64_t segments = clip.segments(), pictures = clip.pictures / segments;
  const bool clip_scope = t.params.clip_scope;
  const double q = t.params.percentile;
  const auto store = [&](int energy, double floor) { return StoreScale{clip.work.scales + energy, pictures, floor}; };
  const auto rounded = [=] OVE_HOST_DEVICE(float value) {
    return clip_scope ? saliency::magnitude_of_bin(saliency::magnitude_bin(value)) : value;
  };
  const auto extent = [&](std::int64_t n) { return Extent{segments, pictures, n}; };
  const auto all = [&](std::int64_t n) { return Always{static_cast<std::uint64_t>(pictures * n)}; };
  if (t.motion) {
    const auto value = [=] OVE_HOST_DEVICE(std::int64_t s, std::int64_t part, std::uint32_t i) {
      return weighted(rounded(clip.motion(s * pictures + part, i)));
    };
    find_percentiles(executor, select, extent(t.cells()), all(t.cells()), q, value, store(0, saliency::kLeastMotion));
  }
  const std::int64_t samples = t.samples();
  if (t.residual && clip.residual_sums != nullptr) {
    const float* const sums = clip.residual_sums;
    const auto value = [=] OVE_HOST_DEVICE(std::int64_t s, std::int64_t part, std::uint32_t i) {
      return weighted(rounded(sums[(s * pictures + part) * samples + i]));
    };
    find_percentiles(executor, select, extent(samples), all(samples), q, value, store(1, saliency::kLeastResidual));
  } else if (t.residual) {
    find_byte_percentiles(executor, select, segments, pictures * samples, clip.arrays.levels, q,
                          store(1, saliency::kLeastResidual));
  }
  if (t.bits) {
    float* const bits = clip.work.bits;
    executor.for_each(clip.pictures * t.ctus(),
                      [=] OVE_HOST_DEVICE(std::int64_t i) { bits[i] = saliency::value_of_bits(clip.bits(i)); });
    const std::uint32_t* const weights = clip.at(t.bits_samples);
    const std::int64_t ctus = t.ctus();
    const auto value = [=] OVE_HOST_DEVICE(std::int64_t s, std::int64_t part, std::uint32_t i) {
      return weighted(rounded(bits[(s * pictures + part) * ctus + i]), weights[i]);
    };
    find_percentiles(executor, select, extent(ctus), all(samples), q, value, store(2, saliency::kLeastBits));
  }
}

// The scales of all energies of all pictures are these three (in the executor's memory).
template <class Executor>
void set_scales(Executor& executor, const Clip& clip, const float* scales) {
  float* const to = clip.work.scales;
  executor.for_each(3 * clip.pictures, [=] OVE_HOST_DEVICE(std::int64_t i) { to[i] = scales[i % 3]; });
  if (!clip.tables.bits) return;
  float* const bits = clip.work.bits;
  executor.for_each(clip.pictures * clip.tables.ctus(),
                    [=] OVE_HOST_DEVICE(std::int64_t i) { bits[i] = saliency::value_of_bits(clip.bits(i)); });
}

// All that scores and heat are made with: the maps of pictures taken in, unless they are sums, and scales: those given
// or the percentiles'. Those of the first picture come to `scales_out`. Both are of the executor's memory, or null.
template <class Executor>
void measure(Executor& executor, const Clip& clip, const float* given_scales, float* scales_out) {
  if (clip.tables.motion && !clip.tables.accumulates()) measure_motion(executor, clip);
  given_scales != nullptr ? set_scales(executor, clip, given_scales) : find_scales(executor, clip);
  if (scales_out == nullptr) return;
  executor.for_each(3, [=] OVE_HOST_DEVICE(std::int64_t i) {
    const HeatTables& t = clip.tables;
    const bool used = i == 0 ? t.motion : i == 1 ? t.residual : t.bits;
    const double floor = i == 0 ? saliency::kLeastMotion : i == 1 ? saliency::kLeastResidual : saliency::kLeastBits;
    scales_out[i] = used ? clip.work.scales[i] : saliency::scale_of(0, floor);
  });
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
