// What this room reads of a coded picture. Pointers are borrowed for the length of a call.
#pragma once

#include <cstdint>

namespace ove::saliency {

// Arrays cover the coded picture, row after row; blocks are 4x4 luma samples, block_rows = ceil(height / 4).
struct PictureView {
  int width = 0, height = 0;  // coded, luma samples
  int bit_depth = 8;
  bool intra = false;  // an I picture

  const std::int16_t* mv = nullptr;       // (block_rows, block_columns, 2 lists, x y), quarter samples
  const std::uint8_t* pred = nullptr;     // (block_rows, block_columns), bit 0: list 0 used, bit 1: list 1; may be null
  const std::int32_t* ref_poc = nullptr;  // (block_rows, block_columns, 2 lists); only for kDisplacement
  std::int32_t poc = 0;
  const std::int16_t* residual = nullptr;  // (height, width), at bit_depth

  const std::int32_t* bits = nullptr;  // (bits_rows, bits_columns), one a CTU
  int bits_rows = 0, bits_columns = 0, ctb_size = 0;

  int block_columns() const { return (width + 3) / 4; }
  int block_rows() const { return (height + 3) / 4; }
};

}  // namespace ove::saliency
