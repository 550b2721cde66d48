// Where the neighbours of a macroblock lie (6.4.8 to 6.4.12), in frames, fields and MBAFF frames.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace ove::h264 {

// Macroblocks of a picture as they are stored: row by row. In MBAFF frames the macroblocks of a pair lie one above the
// other, the top field of a field pair in the upper one.
struct MbPosition {
  int x = 0, y = 0;
};

// 6.4.1 of a frame or field, and as stored in an MBAFF frame
constexpr MbPosition mb_position(int address, int width_in_mbs, bool mbaff) {
  if (!mbaff) return {address % width_in_mbs, address / width_in_mbs};
  const int pair = address / 2;
  return {pair % width_in_mbs, pair / width_in_mbs * 2 + address % 2};
}

// 6.4.9, 6.4.10: whether neighbouring macroblocks (in MBAFF frames: pairs) belong to the current slice and are decoded.
struct MbAvailability {
  bool a = false, b = false, c = false, d = false;  // left, above, above right, above left
};

// `slices` has the slice of every macroblock, row by row as stored; slices are parsed in the order of their addresses.
// (x, y) is the current macroblock; in MBAFF frames the top one of its pair.
inline MbAvailability mb_availability(std::span<const std::uint16_t> slices, int x, int y, int width_in_mbs,
                                      bool mbaff) {
  const int above = mbaff ? 2 : 1;
  const auto at = static_cast<std::size_t>(y) * static_cast<std::size_t>(width_in_mbs) + static_cast<std::size_t>(x);
  const std::uint16_t slice = slices[at];
  MbAvailability out;
  out.a = x > 0 && slices[at - 1] == slice;
  if (y >= above) {
    const std::size_t up = at - static_cast<std::size_t>(above) * static_cast<std::size_t>(width_in_mbs);
    out.b = slices[up] == slice;
    out.c = x + 1 < width_in_mbs && slices[up + 1] == slice;
    out.d = x > 0 && slices[up - 1] == slice;
  }
  return out;
}

// 6.4.12.2, Table 6-4: a row of a macroblock of a pair.
struct PairRow {
  int bottom;  // 0 top macroblock of the pair, 1 bottom one
  int y;       // row of samples in it
};

// The row left of row y (0 to height - 1) of the current macroblock. `height` is that of a macroblock: 16, or less for
// chroma.
constexpr PairRow mbaff_left(bool field, bool bottom, bool left_field, int y, int height = 16) {
  if (field == left_field) return {bottom, y};
  if (left_field) return {y & 1, (y + (bottom ? height : 0)) >> 1};
  const int row = 2 * y + (bottom ? 1 : 0);
  return {row >= height, row >= height ? row - height : row};
}

// The row above the first row of the current macroblock, in the pair above (to its left and right too). Not for the
// bottom macroblock of a frame pair: above it lies the top one of its own pair, above left mbaff_above_left_inside(),
// and nothing is available above right.
constexpr PairRow mbaff_above(bool field, bool bottom, bool above_field, int height = 16) {
  if (!field || bottom) return {1, height - 1};
  return above_field ? PairRow{0, height - 1} : PairRow{1, height - 2};
}

// The row above left of the bottom macroblock of a frame pair, in the pair to the left.
constexpr PairRow mbaff_above_left_inside(bool left_field, int height = 16) {
  return left_field ? PairRow{1, height / 2 - 1} : PairRow{0, height - 1};
}

}  // namespace ove::h264
