// log1p of the bits of each CTU that touches the display window.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "common/geometry.h"
#include "saliency/picture.h"

namespace ove::saliency {

class BitCost {
 public:
  explicit BitCost(const DisplayWindow& window) : window_(window) {}

  // Throws std::invalid_argument where bits are missing or do not cover the window.
  void read(const PictureView& picture);

  int side() const { return side_; }
  int columns() const { return columns_; }
  std::span<const float> values() const { return values_; }  // row after row
  // Each value with the number of samples of the window that it covers.
  const std::vector<std::pair<float, std::uint64_t>>& weighted() const { return weighted_; }

 private:
  DisplayWindow window_;
  int side_ = 0, columns_ = 0;
  std::vector<float> values_;
  std::vector<std::pair<float, std::uint64_t>> weighted_;
};

}  // namespace ove::saliency
