// Sizes and grids of a picture's arrays, in terms that no codec owns.
#pragma once

#include <cstdint>

namespace ove::codec {

struct Mv {
  std::int16_t x = 0, y = 0;  // quarter luma samples
  bool operator==(const Mv&) const = default;
};
static_assert(sizeof(Mv) == 4);

struct Window {
  int x = 0, y = 0, width = 0, height = 0;  // luma samples
  bool operator==(const Window&) const = default;
};

// kMbaff: a frame whose macroblock pairs may be fields, as coded: the upper macroblock of a field pair holds the top
// field. kFieldPair: a frame for display whose blocks may be of either field, in alternate rows of 4x4 blocks.
enum class Structure : std::uint8_t { kFrame, kMbaff, kTopField, kBottomField, kFieldPair };

struct PictureFormat {
  int width = 0, height = 0;  // coded luma samples, multiples of the unit
  Window window;              // shown, before rotation
  int bit_depth = 8;          // of luma
  bool has_fields = false;    // PictureBuffers::field is there
  int log2_unit = 3;          // side of a unit of the qp, size, skip and field grids: luma samples
  int log2_bits = 4;          // of a block of the bits grid
  int log2_slice = 4;         // of a block of the slice grid

  int width4() const { return width >> 2; }
  int height4() const { return height >> 2; }
  int columns(int log2_side) const { return (width + (1 << log2_side) - 1) >> log2_side; }
  int rows(int log2_side) const { return (height + (1 << log2_side) - 1) >> log2_side; }
  bool operator==(const PictureFormat&) const = default;
};

}  // namespace ove::codec
