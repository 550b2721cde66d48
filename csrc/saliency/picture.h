// What this room reads of a coded picture. Pointers are borrowed for the length of a call.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace ove::saliency {

// Blocks [x4, x4 + size4) x [y4, y4 + size4), in units of 4 luma samples.
struct CodedSquare {
  std::uint16_t x4, y4, size4;
};

// Arrays cover the coded picture, row after row; blocks are 4x4 luma samples, block_rows = ceil(height / 4).
struct PictureView {
  int width = 0, height = 0;  // coded, luma samples
  int bit_depth = 8;
  bool intra = false;  // an I picture

  const std::int16_t* mv = nullptr;    // (block_rows, block_columns, 2 lists, x y), quarter samples
  const std::uint8_t* pred = nullptr;  // (block_rows, block_columns), bit 0: list 0 used, bit 1: list 1; may be null
  // The same as (block_rows, block_columns, 2 lists), negative where a list is not used; stands for `pred` where that
  // is null.
  const std::int8_t* ref_idx = nullptr;
  const std::int32_t* ref_poc = nullptr;  // (block_rows, block_columns, 2 lists); only for kDisplacement
  // POC by list and index where all blocks have the same lists; with `ref_idx`, stands for `ref_poc` where that is
  // null.
  const std::array<std::vector<std::int32_t>, 2>* list_poc = nullptr;
  std::int32_t poc = 0;
  const std::int16_t* residual = nullptr;             // (height, width), at bit_depth
  std::optional<std::span<const CodedSquare>> coded;  // outside of them, where they are known, the residual is 0
  // Of the `coded` squares, in decoding order, one behind the other, each row by row; stands for `residual` where that
  // is null. Only where Saliency::takes_packed().
  const std::int16_t* packed_residual = nullptr;

  const std::int32_t* bits = nullptr;  // (bits_rows, bits_columns), one a CTU
  int bits_rows = 0, bits_columns = 0, ctb_size = 0;

  int block_columns() const { return (width + 3) / 4; }
  int block_rows() const { return (height + 3) / 4; }
};

}  // namespace ove::saliency
