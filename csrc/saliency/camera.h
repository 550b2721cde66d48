// The motion of the camera in one field of vectors, taken off it before magnitudes are measured.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "common/host_device.h"
#include "saliency/formulas.h"
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
  bool still = false;  // both medians are known to be 0
};

// The samples [begin, end) of the map that lie in block i of a side of the grid.
struct BlockSpan {
  int begin, end;
};
OVE_HOST_DEVICE inline BlockSpan block_span(int i, int phase, int length) {
  const int begin = 4 * i - phase, end = begin + 4;
  return {begin < 0 ? 0 : begin, end < length ? end : length};
}

// The coordinates u or v along a side of the map.
std::vector<float> unit_coordinates(int length);
// Those of the middles of blocks.
std::vector<float> centre_coordinates(int blocks, int phase, int length);

// kMedian and kMean: over all blocks, those without a vector included, unless `left_out` names them (1; empty: none).
// kSimilarity and kAffine: least squares over at most 5000 samples whose vector is not 0, evenly strided in raster
// order, and once more over the 70 % of them that fit best; the median where fewer than 64 samples move.
Camera fit_camera(const VectorField& field, const BlockGrid& grid, Compensate compensate,
                  std::span<const std::uint8_t> left_out = {});

}  // namespace ove::saliency
