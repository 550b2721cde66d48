#include "saliency/bits.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "saliency/formulas.h"

namespace ove::saliency {

CtuCells::CtuCells(const DisplayWindow& window, int ctb_size) : side(ctb_size) {
  if (side <= 0) throw std::invalid_argument("ctb_size must be positive, not " + std::to_string(side));
  const int right = window.x + window.width, bottom = window.y + window.height;
  first_row = window.y / side;
  first_column = window.x / side;
  rows = (bottom + side - 1) / side - first_row;
  map.columns = (right + side - 1) / side - first_column;
  map.column_of = even_cells(window.width, side, window.x % side);
  map.row_of = even_cells(window.height, side, window.y % side);
  for (int row = first_row; row < first_row + rows; ++row) {
    const int covered_rows = std::min((row + 1) * side, bottom) - std::max(row * side, window.y);
    for (int column = first_column; column < first_column + map.columns; ++column) {
      const int covered_columns = std::min((column + 1) * side, right) - std::max(column * side, window.x);
      samples.push_back(static_cast<std::uint64_t>(covered_rows) * covered_columns);
    }
  }
}

void check_bits(const PictureView& picture) {
  if (picture.bits == nullptr)
    throw std::invalid_argument("bits are missing: pass them (and ctb_size), or set bits_weight=0");
}

void CtuCells::check(const PictureView& picture) const {
  if (first_row + rows > picture.bits_rows || first_column + map.columns > picture.bits_columns) {
    throw std::invalid_argument("bits has " + std::to_string(picture.bits_rows) + "x" +
                                std::to_string(picture.bits_columns) + " CTUs of " + std::to_string(side) +
                                " samples, too few for the picture; give its ctb_size");
  }
}

void BitCost::read(const PictureView& picture) {
  check_bits(picture);
  if (accumulate_ == Accumulate::kNone) clear();
  if (!cells_ || cells_->side != picture.ctb_size) {
    if (!bits_.empty()) {
      throw std::invalid_argument("ctb_size changes from " + std::to_string(side()) + " to " +
                                  std::to_string(picture.ctb_size) +
                                  " among pictures that are accumulated: set accumulate='none' or bits_weight=0");
    }
    cells_.emplace(window_, picture.ctb_size);
  }
  CtuCells& c = *cells_;
  c.check(picture);
  bits_.resize(c.samples.size());
  c.map.values.clear();
  weighted_.clear();
  for (int row = 0; row < c.rows; ++row) {
    for (const std::int32_t bits : c.row(picture, row)) {
      std::int64_t& so_far = bits_[weighted_.size()];
      so_far = accumulated<std::int64_t>(accumulate_, so_far, std::max(0, bits));
      const float value = value_of_bits(so_far);
      weighted_.emplace_back(value, c.samples[weighted_.size()]);
      c.map.values.push_back(value);
    }
  }
}

}  // namespace ove::saliency
