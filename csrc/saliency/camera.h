// The motion of the camera in one field of vectors, taken off it before magnitudes are measured.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "saliency/params.h"

namespace ove::saliency {

// The 4x4 blocks of a map of samples. phase: samples of the first block that lie before the map.
struct BlockGrid {
  int columns = 0, rows = 0;
  int phase_x = 0, phase_y = 0;
  int width = 0, height = 0;  // of the map
};

// One vector a block of the grid, luma samples; 0 where the block has none.
struct VectorField {
  std::vector<float> x, y;
};

// The samples [begin, end) of the map that lie in block i of a side of the grid.
struct BlockSpan {
  int begin, end;
};
inline BlockSpan block_span(int i, int phase, int length) {
  return {std::max(0, 4 * i - phase), std::min(length, 4 * i - phase + 4)};
}

// dx = (x0 + xx * u) + xy * v, dy = (y0 + yx * u) + yy * v, with u and v from -1 at the first sample of the map to 1 at
// the last one. Single precision and its order of operations belong to the definition.
struct Camera {
  float x0 = 0, xx = 0, xy = 0;
  float y0 = 0, yx = 0, yy = 0;
};

// The coordinates u or v along a side of the map.
std::vector<float> unit_coordinates(int length);

// kMedian and kMean: over all blocks, those without a vector included. kSimilarity and kAffine: least squares over at
// most 5000 samples whose vector is not 0, evenly strided in raster order, and once more over the 70 % of them that fit
// best; the median where fewer than 64 samples move.
Camera fit_camera(const VectorField& field, const BlockGrid& grid, Compensate compensate);

}  // namespace ove::saliency
