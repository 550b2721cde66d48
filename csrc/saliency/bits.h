// log1p of the bits of each CTU that touches the display window, in one picture or in those that are accumulated.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "common/geometry.h"
#include "saliency/params.h"
#include "saliency/picture.h"
#include "saliency/value_map.h"

namespace ove::saliency {

// Throws std::invalid_argument where a picture has no bits.
void check_bits(const PictureView& picture);

// The CTUs that touch the window, row after row.
struct CtuCells {
  // Throws std::invalid_argument for a side that is not positive.
  CtuCells(const DisplayWindow& window, int side);

  // Throws std::invalid_argument where the picture's bits do not cover the window.
  void check(const PictureView& picture) const;
  // Bits of the CTUs of one row of cells.
  std::span<const std::int32_t> row(const PictureView& picture, int row) const {
    return {picture.bits + static_cast<std::size_t>(first_row + row) * picture.bits_columns + first_column,
            static_cast<std::size_t>(map.columns)};
  }

  int side, first_row, first_column, rows;
  ValueMap map;                        // its values are left empty
  std::vector<std::uint64_t> samples;  // of the window, in each
};

class BitCost {
 public:
  explicit BitCost(const DisplayWindow& window, Accumulate accumulate = Accumulate::kNone)
      : window_(window), accumulate_(accumulate) {}

  // Bits that are accumulated add to those read since clear(). Throws std::invalid_argument where bits are missing or
  // do not cover the window, or where the side of CTUs changes among those that are accumulated.
  void read(const PictureView& picture);
  void clear() { bits_.clear(); }

  int side() const { return cells_ ? cells_->side : 0; }
  const ValueMap& map() const { return cells_->map; }
  // Each value with the number of samples of the window that it covers.
  const std::vector<std::pair<float, std::uint64_t>>& weighted() const { return weighted_; }

 private:
  DisplayWindow window_;
  Accumulate accumulate_;
  std::optional<CtuCells> cells_;
  std::vector<std::int64_t> bits_;  // of each CTU; empty behind clear()
  std::vector<std::pair<float, std::uint64_t>> weighted_;
};

}  // namespace ove::saliency
