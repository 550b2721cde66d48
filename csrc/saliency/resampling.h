// The way from the samples of the display window to canvas samples and to patch sums, one axis at a time. A picture H
// gets the canvas V . H . U^T and the patch sums (P V) . H . (P U)^T, P adding up the canvas samples of each patch.
// Axes are those of the coded picture: the orientation of the display only reverses an axis or
// swaps the two.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/geometry.h"
#include "saliency/params.h"

namespace ove::saliency {

// Canvas sample i is the sum over k < taps of weight[i * taps + k] * source[first[i] + k]. Weights are 0 outside the
// resized picture, and where a tap lies behind the source, which is then shorter than the taps are many.
struct Axis {
  int source = 0, canvas = 0, taps = 0, patch = 0;
  bool reversed = false;  // `first` descends instead of ascending
  std::vector<std::int32_t> first;
  std::vector<float> weight;

  // The source samples [begin, end) that have weight in some canvas sample.
  int begin = 0, end = 0;
};

struct Axes {
  Axis vertical, horizontal;  // of the coded picture
  bool swapped = false;       // canvas rows run along the horizontal axis
};

Axes make_axes(const Geometry& geometry, Orientation orientation, Interpolation interpolation);

// Rows of a sparse matrix, dense from `begin` on: sum p is the product of row(p) and the source from begin[p] on.
class PatchSums {
 public:
  // The source is one value for each cell of samples; cell_of names the cell of every sample of the window.
  PatchSums(const Axis& axis, std::span<const std::int32_t> cell_of);

  int count() const { return static_cast<int>(begin_.size()); }
  int begin(int p) const { return begin_[p]; }
  std::span<const float> row(int p) const {
    return {weights_.data() + offset_[p], static_cast<std::size_t>(offset_[p + 1] - offset_[p])};
  }

 private:
  std::vector<std::int32_t> begin_, offset_;
  std::vector<float> weights_;
};

}  // namespace ove::saliency
