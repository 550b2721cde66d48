// log1p of the bits of each CTU that touches the display window.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "common/geometry.h"
#include "saliency/picture.h"
#include "saliency/value_map.h"

namespace ove::saliency {

// The CTUs that touch the window, row after row.
struct CtuCells {
  // Throws std::invalid_argument for a side that is not positive.
  CtuCells(const DisplayWindow& window, int side);

  int side, first_row, first_column, rows;
  ValueMap map;                        // its values are left empty
  std::vector<std::uint64_t> samples;  // of the window, in each
};

class BitCost {
 public:
  explicit BitCost(const DisplayWindow& window) : window_(window) {}

  // Throws std::invalid_argument where bits are missing or do not cover the window.
  void read(const PictureView& picture);

  int side() const { return cells_ ? cells_->side : 0; }
  const ValueMap& map() const { return cells_->map; }
  // Each value with the number of samples of the window that it covers.
  const std::vector<std::pair<float, std::uint64_t>>& weighted() const { return weighted_; }

 private:
  DisplayWindow window_;
  std::optional<CtuCells> cells_;
  std::vector<std::pair<float, std::uint64_t>> weighted_;
};

}  // namespace ove::saliency
