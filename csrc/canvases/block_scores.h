// What the blocks of a canvas score, by the bits that the cells of a picture took.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace ove::canvases {

// Brings the costs of one picture's cells (bits; below 0 counts as 0) into 0..1: log1p, divided by this percentile of
// the cells. Logarithms and quotients are rounded once, so that equal costs give equal heat on every machine.
void cell_heat(std::span<const float> costs, double percentile, std::span<float> heat);

// Which cells the samples of a frame show when the grid of cells is stretched over it, nearest neighbour.
class BlockScorer {
 public:
  // Frames of height x width samples, whole multiples of the side of a block. Throws std::invalid_argument.
  BlockScorer(int cell_rows, int cell_columns, int height, int width, int side);

  std::size_t cells() const { return cells_; }
  std::size_t blocks() const { return static_cast<std::size_t>(down_.blocks()) * across_.blocks(); }
  // Sums the heat over the samples of every block, row by row. Sums are exact before they are rounded.
  void score(std::span<const float> heat, std::span<float> scores) const;

 private:
  struct Share {
    int cell = 0, samples = 0;
  };
  // By block along an axis: the cells that its samples show, and how many of them each.
  struct Axis {
    Axis(int cells, int length, int side);
    int blocks() const { return static_cast<int>(begin.size()) - 1; }
    std::span<const Share> of(int block) const {
      return std::span(shares).subspan(begin[block], begin[block + 1] - begin[block]);
    }
    std::vector<Share> shares;
    std::vector<std::size_t> begin{0};
  };

  std::size_t cells_;
  int cell_columns_;
  Axis down_, across_;
};

}  // namespace ove::canvases
