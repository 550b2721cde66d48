// A clip at work: its pictures as they were taken in, or the sums of several, what is computed of them, and the
// formulas of single samples.
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
  std::uint8_t* intra = nullptr;     // by block, 1 for those that are filled from the others; null where none are
  std::uint8_t* levels = nullptr;    // |Y - 128| of the window
  std::int32_t* bits = nullptr;      // by CTU
  std::int32_t* sampled = nullptr;   // the number of the sampled picture that each counts for, where they accumulate

  ClipArrays() = default;
  ClipArrays(const HeatTables& t, std::int64_t pictures, Arena& arena) {
    if (t.motion) {
      x = arena.take<float>(pictures * t.lists * t.blocks());
      y = arena.take<float>(pictures * t.lists * t.blocks());
      if (t.lists > 1) used = arena.take<std::uint8_t>(pictures * t.blocks());
      if (t.fills_intra()) intra = arena.take<std::uint8_t>(pictures * t.blocks());
    }
    if (t.residual) levels = arena.take<std::uint8_t>(pictures * t.samples());
    if (t.bits) bits = arena.take<std::int32_t>(pictures * t.ctus());
    if (t.accumulates()) sampled = arena.take<std::int32_t>(pictures);
  }
};

// Values of sampled pictures that count those before them too, each the sum or the largest of several pictures': zeros
// at first, added to by accumulate(). Arrays are by sampled picture.
struct ClipSums {
  float* motion = nullptr;         // by cell of the map
  float* residual = nullptr;       // sums of levels, which are whole; null where the largest are taken,
  std::uint8_t* levels = nullptr;  // which are levels too
  std::int64_t* bits = nullptr;    // by CTU

  ClipSums() = default;
  ClipSums(const HeatTables& t, std::int64_t sampled, Arena& arena) {
    if (!t.accumulates()) return;
    if (t.motion) motion = arena.take<float>(sampled * t.cells());
    if (t.residual && t.params.accumulate == saliency::Accumulate::kSum) {
      residual = arena.take<float>(sampled * t.samples());
    } else if (t.residual) {
      levels = arena.take<std::uint8_t>(sampled * t.samples());
    }
    if (t.bits) bits = arena.take<std::int64_t>(sampled * t.ctus());
  }
};

// What is computed of pictures taken in, and of sampled ones.
struct ClipWork {
  SelectWork select;
  // By picture taken in.
  saliency::Camera* cameras = nullptr;  // and list
  float* values = nullptr;              // the map of motion, where it is kept: by block, or local variances by sample
  std::uint64_t* others = nullptr;      // its blocks that are not filled
  float* fills = nullptr;               // |v| of those that are
  float *sums_of_values = nullptr, *sums_of_squares = nullptr;  // of local variances, see variance.h
  std::uint64_t* row_samples = nullptr;                         // moving ones before each row of blocks, and in all
  saliency::Point* points = nullptr;                            // kMostPoints, and list
  saliency::Point* kept = nullptr;                              // likewise
  std::uint64_t *keys = nullptr, *sorted = nullptr;
  saliency::PointSums* lane_sums = nullptr;          // kFitLanes, and list
  saliency::PointProducts* lane_products = nullptr;  // likewise
  saliency::PointSums* means = nullptr;              // and list
  // By sampled picture.
  float* bits = nullptr;       // values, by CTU
  float* scales = nullptr;     // of motion, residual and bits
  float* columns = nullptr;    // sums down the rows of each patch row
  double* sums = nullptr;      // by patch, along the axes of the coded picture
  double* row_sums = nullptr;  // of each row of canvas samples of each patch

  // `pictures` taken in, `sampled` ones: the same number unless they accumulate.
  ClipWork(const HeatTables& t, std::int64_t pictures, std::int64_t sampled, Arena& arena) {
    using saliency::Compensate;
    const std::int64_t fields = pictures * t.lists;
    select = SelectWork(2 * fields > sampled ? 2 * fields : sampled, arena);  // both components of the vectors
    cameras = arena.take<saliency::Camera>(fields);
    if (t.motion && t.motion_kept()) values = arena.take<float>(pictures * t.cells());
    if (t.motion && t.params.local_variance > 0) {
      sums_of_values = arena.take<float>(pictures * t.variance_samples());
      if (t.params.reference_motion) sums_of_squares = arena.take<float>(pictures * t.variance_samples());
    }
    if (t.fills_intra()) {
      others = arena.take<std::uint64_t>(pictures);
      fills = arena.take<float>(pictures);
    }
    const Compensate compensate = t.params.compensate;
    if (compensate == Compensate::kSimilarity || compensate == Compensate::kAffine) {
      row_samples = arena.take<std::uint64_t>(fields * (t.grid.rows + 1));
      points = arena.take<saliency::Point>(fields * saliency::kMostPoints);
      kept = arena.take<saliency::Point>(fields * saliency::kMostPoints);
      keys = arena.take<std::uint64_t>(fields * saliency::kMostPoints);
      sorted = arena.take<std::uint64_t>(fields * saliency::kMostPoints);
      lane_sums = arena.take<saliency::PointSums>(fields * saliency::kFitLanes);
      lane_products = arena.take<saliency::PointProducts>(fields * saliency::kFitLanes);
      means = arena.take<saliency::PointSums>(fields);
    }
    if (t.bits) bits = arena.take<float>(sampled * t.ctus());
    scales = arena.take<float>(3 * sampled);
    sums = arena.take<double>(sampled * t.patches());
    if (t.linear) {
      columns = arena.take<float>(sampled * most_columns(t));
    } else {
      row_sums = arena.take<double>(sampled * t.patches() * t.patch);
    }
  }

  static std::int64_t most_columns(const HeatTables& t) {
    const std::int64_t width = t.motion_cells.columns > t.window.width ? t.motion_cells.columns : t.window.width;
    return t.vertical.canvas / t.patch * width;
  }
};

// The memory of a clip: room for so many pictures taken in, and for so many sampled ones.
struct ClipMemory {
  ClipArrays arrays;
  ClipSums sums;
  ClipWork work;

  ClipMemory(const HeatTables& t, std::int64_t pictures, std::int64_t sampled, Arena& arena)
      : arrays(t, pictures, arena), sums(t, sampled, arena), work(t, pictures, sampled, arena) {}
};

// A clip at work: everything that a step reads. Its pictures are those taken in; of sampled(), those that count them.
struct Clip {
  HeatTables tables;
  const std::byte* block;  // the tables' memory
  ClipArrays arrays;
  ClipWork work;
  std::int64_t pictures;
  const float* residual_sums = nullptr;    // by sample, in place of levels
  const std::int64_t* bit_sums = nullptr;  // by CTU, in place of bits

  // The sampled pictures of a clip that accumulates.
  Clip sampled(const ClipSums& sums, std::int64_t count) const {
    Clip clip = *this;
    clip.arrays = ClipArrays();
    clip.arrays.levels = sums.levels;
    clip.work.values = sums.motion;
    clip.pictures = count;
    clip.residual_sums = sums.residual;
    clip.bit_sums = sums.bits;
    return clip;
  }

  // Of percentiles: a picture each, or the whole clip.
  OVE_HOST_DEVICE std::int64_t segments() const { return tables.params.clip_scope ? 1 : pictures; }

  template <class T>
  OVE_HOST_DEVICE const T* at(const Table<T>& table) const {
    return reinterpret_cast<const T*>(block + table.offset);
  }

  OVE_HOST_DEVICE std::int64_t vector(std::int64_t picture, int list, std::int64_t block_index) const {
    return (picture * tables.lists + list) * tables.blocks() + block_index;
  }

  // Whether a block takes part in the camera, and has a |v| of its own.
  OVE_HOST_DEVICE bool counts(std::int64_t picture, std::int64_t index) const {
    return arrays.intra == nullptr || arrays.intra[picture * tables.blocks() + index] == 0;
  }
  // So many do.
  OVE_HOST_DEVICE std::uint64_t counted(std::int64_t picture) const {
    return arrays.intra == nullptr ? static_cast<std::uint64_t>(tables.blocks()) : work.others[picture];
  }

  // |v| of a block less the camera, at coordinates of it.
  OVE_HOST_DEVICE float block_motion(std::int64_t picture, std::int64_t index, float u, float v) const {
    if (!counts(picture, index)) return work.fills[picture];
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

  // |v| of a sample of the grid.
  OVE_HOST_DEVICE float sample_motion(std::int64_t picture, int column, int row) const {
    const saliency::BlockGrid& grid = tables.grid;
    const int block_row = (row + grid.phase_y) / 4, block_column = (column + grid.phase_x) / 4;
    return block_motion(picture, std::int64_t{block_row} * grid.columns + block_column, at(tables.u)[column],
                        at(tables.v)[row]);
  }

  // Of a cell of the map, which is a block or a sample.
  OVE_HOST_DEVICE float motion(std::int64_t picture, int column, int row) const {
    if (work.values == nullptr) return sample_motion(picture, column, row);
    const CellTable& cells = tables.motion_cells;
    return work.values[(picture * cells.rows + row) * cells.columns + column];
  }

  // Of the i-th cell of the map.
  OVE_HOST_DEVICE float motion(std::int64_t picture, std::uint32_t i) const {
    if (work.values != nullptr) return work.values[picture * tables.cells() + i];
    const auto columns = static_cast<std::uint32_t>(tables.motion_cells.columns);
    return sample_motion(picture, static_cast<int>(i % columns), static_cast<int>(i / columns));
  }

  // |Y - 128| of sample i of the window of all pictures, one behind the other; bits of a CTU likewise.
  OVE_HOST_DEVICE float residual(std::int64_t i) const {
    return residual_sums != nullptr ? residual_sums[i] : static_cast<float>(arrays.levels[i]);
  }
  OVE_HOST_DEVICE std::int64_t bits(std::int64_t i) const { return bit_sums != nullptr ? bit_sums[i] : arrays.bits[i]; }

  // Of a sample of the window.
  OVE_HOST_DEVICE float motion_energy(std::int64_t picture, int x, int y, float weight) const {
    const int column = at(tables.motion_cells.column_of)[x], row = at(tables.motion_cells.row_of)[y];
    return saliency::energy(motion(picture, column, row), work.scales[3 * picture], weight);
  }
  OVE_HOST_DEVICE float residual_energy(std::int64_t picture, int x, int y, float weight) const {
    const float value = residual(picture * tables.samples() + std::int64_t{y} * tables.window.width + x);
    return saliency::energy(value, work.scales[3 * picture + 1], weight);
  }
  OVE_HOST_DEVICE float bits_energy(std::int64_t picture, int x, int y, float weight) const {
    const CellTable& cells = tables.bits_cells;
    const std::int64_t ctu = std::int64_t{at(cells.row_of)[y]} * cells.columns + at(cells.column_of)[x];
    return saliency::energy(work.bits[picture * tables.ctus() + ctu], work.scales[3 * picture + 2], weight);
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

}  // namespace ove::cuda
