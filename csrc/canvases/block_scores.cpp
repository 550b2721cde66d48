#include "canvases/block_scores.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace ove::canvases {

namespace {

// Of values that may be reordered; linear between the two nearest ranks.
double percentile_of(std::vector<float>& values, double percentile) {
  const double rank = percentile / 100 * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(rank);
  const auto at = values.begin() + static_cast<std::ptrdiff_t>(below);
  std::nth_element(values.begin(), at, values.end());
  const double low = *at;
  if (below + 1 == values.size()) return low;
  const double high = *std::min_element(at + 1, values.end());
  return low + (high - low) * (rank - static_cast<double>(below));
}

}  // namespace

void cell_heat(std::span<const float> costs, double percentile, std::span<float> heat) {
  if (costs.empty() || costs.size() != heat.size()) throw std::invalid_argument("a picture must have cells");
  if (!(percentile >= 0 && percentile <= 100)) throw std::invalid_argument("percentile must be 0 to 100");
  std::transform(costs.begin(), costs.end(), heat.begin(),
                 [](float cost) { return static_cast<float>(std::log1p(std::max(static_cast<double>(cost), 0.0))); });
  std::vector<float> sorted(heat.begin(), heat.end());
  const float scale = std::max(static_cast<float>(percentile_of(sorted, percentile)), 1e-6F);
  for (float& h : heat) h = std::min(h / scale, 1.0F);
}

BlockScorer::Axis::Axis(int cells, int length, int side) {
  // The step is rounded before it is multiplied: that decides at the borders of cells.
  const double step = 1 / (static_cast<double>(length) / cells);
  for (int i = 0; i < length; ++i) {
    const int cell = std::min(static_cast<int>(std::floor(i * step)), cells - 1);
    if (shares.size() == begin.back() || shares.back().cell != cell) shares.push_back({cell, 0});
    ++shares.back().samples;
    if ((i + 1) % side == 0) begin.push_back(shares.size());
  }
}

BlockScorer::BlockScorer(int cell_rows, int cell_columns, int height, int width, int side)
    : cells_(static_cast<std::size_t>(std::max(cell_rows, 0)) * static_cast<std::size_t>(std::max(cell_columns, 0))),
      cell_columns_(cell_columns),
      down_(std::max(cell_rows, 1), height, std::max(side, 1)),
      across_(std::max(cell_columns, 1), width, std::max(side, 1)) {
  if (cells_ == 0) throw std::invalid_argument("the maps must have rows and columns");
  if (side <= 0 || height <= 0 || width <= 0 || height % side != 0 || width % side != 0) {
    throw std::invalid_argument("frames of " + std::to_string(height) + "x" + std::to_string(width) +
                                " samples are not a whole number of blocks of " + std::to_string(side));
  }
}

void BlockScorer::score(std::span<const float> heat, std::span<float> scores) const {
  if (heat.size() != cells_ || scores.size() != blocks()) throw std::invalid_argument("heat or scores do not fit");
  // Values of 24 bits, times whole numbers: a double holds their sums.
  std::vector<double> row(static_cast<std::size_t>(cell_columns_));
  float* out = scores.data();
  for (int y = 0; y < down_.blocks(); ++y) {
    std::fill(row.begin(), row.end(), 0.0);
    for (const Share& share : down_.of(y)) {
      const float* const cells = heat.data() + static_cast<std::size_t>(share.cell) * row.size();
      for (std::size_t x = 0; x < row.size(); ++x) row[x] += share.samples * static_cast<double>(cells[x]);
    }
    for (int x = 0; x < across_.blocks(); ++x) {
      double sum = 0;
      for (const Share& share : across_.of(x)) sum += share.samples * row[static_cast<std::size_t>(share.cell)];
      *out++ = static_cast<float>(sum);
    }
  }
}

}  // namespace ove::canvases
