#include "saliency/bits.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace ove::saliency {

void BitCost::read(const PictureView& picture) {
  if (picture.bits == nullptr)
    throw std::invalid_argument("bits are missing: pass them (and ctb_size), or set bits_weight=0");
  const int side = picture.ctb_size;
  if (side <= 0) throw std::invalid_argument("ctb_size must be positive, not " + std::to_string(side));
  const int right = window_.x + window_.width, bottom = window_.y + window_.height;
  const int first_row = window_.y / side, end_row = (bottom + side - 1) / side;
  const int first_column = window_.x / side, end_column = (right + side - 1) / side;
  if (end_row > picture.bits_rows || end_column > picture.bits_columns) {
    throw std::invalid_argument("bits has " + std::to_string(picture.bits_rows) + "x" +
                                std::to_string(picture.bits_columns) + " CTUs of " + std::to_string(side) +
                                " samples, too few for the picture; give its ctb_size");
  }
  if (side != side_) {
    side_ = side;
    map_.columns = end_column - first_column;
    map_.column_of = even_cells(window_.width, side, window_.x % side);
    map_.row_of = even_cells(window_.height, side, window_.y % side);
  }
  map_.values.clear();
  weighted_.clear();
  for (int row = first_row; row < end_row; ++row) {
    const int covered_rows = std::min((row + 1) * side, bottom) - std::max(row * side, window_.y);
    for (int column = first_column; column < end_column; ++column) {
      const int covered_columns = std::min((column + 1) * side, right) - std::max(column * side, window_.x);
      const std::int32_t bits = picture.bits[static_cast<std::size_t>(row) * picture.bits_columns + column];
      const float value = static_cast<float>(std::log1p(std::max(0, bits)));
      map_.values.push_back(value);
      weighted_.emplace_back(value, static_cast<std::uint64_t>(covered_rows) * covered_columns);
    }
  }
}

}  // namespace ove::saliency
