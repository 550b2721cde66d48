// Values on a grid of cells over the display window: one a block, or one a sample.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ove::saliency {

struct ValueMap {
  int columns = 0;
  std::vector<std::int32_t> column_of, row_of;  // the cell that a column or a row of the window lies in, ascending
  std::vector<float> values;                    // row after row

  const float* row(int y) const { return values.data() + static_cast<std::size_t>(row_of[y]) * columns; }
};

// Cells of `side` samples each, the first one beginning `phase` samples before the window.
inline std::vector<std::int32_t> even_cells(int length, int side, int phase) {
  std::vector<std::int32_t> cell_of(length);
  for (int i = 0; i < length; ++i) cell_of[i] = (i + phase) / side;
  return cell_of;
}

}  // namespace ove::saliency
