// Blocks of the residual in CAVLC (9.2).
#include "h264/slice_data.h"

namespace ove::h264 {

int SliceDataParser::cavlc_residual_block(int nc, int first, int count, const Target& target) {
  CoefficientRun run;
  cavlc_.residual_block(nc, count, run);
  if (target.out != nullptr) {
    for (int i = 0; i < run.count; ++i) {
      const auto at = static_cast<std::size_t>(i);
      target.put(first + run.index[at], run.level[at]);
    }
  }
  return run.count;
}

// 9.2.1, from the numbers of coefficients of the blocks to the left and above: their mean, or the one that there is. A
// block that is not available counts 64 in the grid.
int SliceDataParser::cavlc_nc(int plane, int x4, int y4) const {
  const auto& grid = coefficient_grid_[static_cast<std::size_t>(plane)];
  const std::size_t at = grid_at(x4, y4);
  const int sum = grid[at - 1] + grid[at - kGridRow];
  return sum < 64 ? (sum + 1) >> 1 : sum & 63;
}

}  // namespace ove::h264
