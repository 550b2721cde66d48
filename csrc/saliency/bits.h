// log1p of the bits of each CTU that touches the display window.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "common/geometry.h"
#include "saliency/picture.h"
#include "saliency/value_map.h"

namespace ove::saliency {

class BitCost {
 public:
  explicit BitCost(const DisplayWindow& window) : window_(window) {}

  // Throws std::invalid_argument where bits are missing or do not cover the window.
  void read(const PictureView& picture);

  int side() const { return side_; }
  const ValueMap& map() const { return map_; }
  // Each value with the number of samples of the window that it covers.
  const std::vector<std::pair<float, std::uint64_t>>& weighted() const { return weighted_; }

 private:
  DisplayWindow window_;
  int side_ = 0;
  ValueMap map_;
  std::vector<std::pair<float, std::uint64_t>> weighted_;
};

}  // namespace ove::saliency
