// From scaled coefficients to the levels of a picture: hevc::reconstruct_residual, of all its blocks at once.
#pragma once

#include <cstdint>

#include "common/host_device.h"
#include "cuda/clip.h"
#include "cuda/heat_tables.h"
#include "hevc/coefficients.h"
#include "hevc/transform_formula.h"
#include "saliency/formulas.h"

namespace ove::cuda {

// What a sample of a block is made of. Arrays are row after row of the block, of size x size.
struct BlockFormula {
  hevc::SparseBlock block;
  const std::int8_t *trans_matrix, *dst;  // (32, 32) and (4, 4): frequency, sample
  int bit_depth;

  OVE_HOST_DEVICE int size() const { return 1 << block.log2_size; }
  OVE_HOST_DEVICE bool is_in_place() const {
    return block.has(hevc::SparseBlock::kBypass) || block.has(hevc::SparseBlock::kTransformSkip);
  }
  OVE_HOST_DEVICE int basis(int frequency, int sample) const {
    if (block.has(hevc::SparseBlock::kDst)) return dst[4 * frequency + sample];
    return trans_matrix[32 * (frequency << (5 - block.log2_size)) + sample];
  }

  // Of a column that has coefficients.
  OVE_HOST_DEVICE std::int16_t first_stage(const std::int16_t* coefficients, int x, int y) const {
    std::int32_t sum = 0;
    for (int k = 0; k < block.rows; ++k) sum += basis(k, y) * coefficients[(k << block.log2_size) + x];
    return hevc::stage_value(sum, hevc::kFirstShift);
  }
  OVE_HOST_DEVICE std::int16_t second_stage(const std::int16_t* intermediate, int x, int y) const {
    std::int32_t sum = 0;
    for (int k = 0; k < block.columns; ++k) sum += basis(k, x) * intermediate[(y << block.log2_size) + k];
    return hevc::stage_value(sum, hevc::second_shift(bit_depth));
  }

  // Without a transform.
  OVE_HOST_DEVICE std::int16_t copied(const std::int16_t* coefficients, int x, int y) const {
    const int at = (y << block.log2_size) + x;
    const std::int16_t value =
        coefficients[block.has(hevc::SparseBlock::kRotate) ? (1 << 2 * block.log2_size) - 1 - at : at];
    return block.has(hevc::SparseBlock::kBypass) ? value : hevc::skipped_value(value, block.log2_size, bit_depth);
  }
  OVE_HOST_DEVICE std::int16_t in_place(const std::int16_t* coefficients, int x, int y) const {
    const hevc::Rdpcm rdpcm = block.rdpcm();
    if (rdpcm == hevc::Rdpcm::kNone) return copied(coefficients, x, y);
    const bool vertical = rdpcm == hevc::Rdpcm::kVertical;
    std::int16_t sum = 0;
    for (int k = 0; k <= (vertical ? y : x); ++k) {
      sum = hevc::clip16(sum + copied(coefficients, vertical ? x : k, vertical ? k : y));
    }
    return sum;
  }
};

// Writes the levels of a picture whose record has coefficients; `tables` is the memory of HeatPlan::block().
template <class Executor>
void take_coefficients(Executor& executor, const HeatTables& t, const std::byte* tables, const RecordSizes& sizes,
                       const std::byte* record, const ClipArrays& arrays, std::uint8_t* levels) {
  const auto* const blocks = reinterpret_cast<const hevc::SparseBlock*>(record + t.record.level_blocks);
  const auto* const sparse = reinterpret_cast<const hevc::Coefficient*>(record + sizes.coefficients);
  const auto* const trans_matrix = reinterpret_cast<const std::int8_t*>(tables + t.trans_matrix.offset);
  const auto* const dst = reinterpret_cast<const std::int8_t*>(tables + t.dst.offset);
  std::int16_t *const dense = arrays.coefficients, *const intermediate = arrays.intermediate;
  const int bit_depth = sizes.bit_depth;
  const DisplayWindow window = t.window;
  constexpr int kShares = 32;  // of the samples of a block
  executor.zero(dense, sizes.coded_samples * static_cast<std::int64_t>(sizeof(*dense)));
  executor.for_each(sizes.sparse_blocks * kShares, [=] OVE_HOST_DEVICE(std::int64_t i) {
    const hevc::SparseBlock block = blocks[i / kShares];
    const std::uint32_t end = blocks[i / kShares + 1].coefficients;
    for (auto k = block.coefficients + static_cast<std::uint32_t>(i % kShares); k < end; k += kShares) {
      dense[block.samples + sparse[k].place] = sparse[k].value;
    }
  });
  executor.for_each(sizes.sparse_blocks * kShares, [=] OVE_HOST_DEVICE(std::int64_t i) {
    const BlockFormula f{blocks[i / kShares], trans_matrix, dst, bit_depth};
    if (f.is_in_place()) return;
    const std::int16_t* const coefficients = dense + f.block.samples;
    for (int k = static_cast<int>(i % kShares); k < f.size() * f.size(); k += kShares) {
      const int x = k & (f.size() - 1), y = k >> f.block.log2_size;
      if (x < f.block.columns) intermediate[f.block.samples + k] = f.first_stage(coefficients, x, y);
    }
  });
  executor.for_each(sizes.sparse_blocks * kShares, [=] OVE_HOST_DEVICE(std::int64_t i) {
    const BlockFormula f{blocks[i / kShares], trans_matrix, dst, bit_depth};
    for (int k = static_cast<int>(i % kShares); k < f.size() * f.size(); k += kShares) {
      const int x = k & (f.size() - 1), y = k >> f.block.log2_size;
      const int column = 4 * f.block.x4 + x - window.x, row = 4 * f.block.y4 + y - window.y;
      if (column < 0 || column >= window.width || row < 0 || row >= window.height) continue;
      const int residual = f.is_in_place() ? f.in_place(dense + f.block.samples, x, y)
                                           : f.second_stage(intermediate + f.block.samples, x, y);
      levels[std::int64_t{row} * window.width + column] =
          static_cast<std::uint8_t>(saliency::residual_level(residual >> (bit_depth - 8)));
    }
  });
}

}  // namespace ove::cuda
