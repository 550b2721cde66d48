// |Y - 128|: the magnitude of the luma residual scaled to 8 bits and clipped to [-128, 127], 0..128.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "common/geometry.h"
#include "saliency/picture.h"
#include "saliency/rows.h"

namespace ove::saliency {

constexpr int kResidualLevels = 129;
using ResidualHistogram = std::array<std::uint64_t, kResidualLevels>;

// Of the samples of the display window whose residual may differ from 0: what reads it follows the bits, not the
// samples.
class CodedResidual {
 public:
  explicit CodedResidual(const DisplayWindow& window) : window_(window) {}

  // In the coded squares where the picture names them, else found among its samples.
  void read(const PictureView& picture);

  // Whether the picture read last was packed: then there are no runs, but blocks of the window in decoding order, and
  // block_levels(), of one behind the other.
  bool packed() const { return packed_; }
  std::span<const LevelBlock> blocks() const { return blocks_; }
  std::span<const std::uint8_t> block_levels() const { return levels_; }

  // Row y of the window: runs, ascending and apart, and their levels, one run behind the other.
  std::span<const Run> runs(int y) const {
    const int band = (y + window_.y % kBand) / kBand;
    return std::span(runs_).subspan(first_run_[band], first_run_[band + 1] - first_run_[band]);
  }
  const std::uint8_t* levels(int y) const { return levels_.data() + first_level_[y]; }

  // Of all levels of the window.
  double percentile(double q) const;
  void count(ResidualHistogram& histogram) const;

 private:
  static constexpr int kBand = 4, kChunk = 16;  // runs are the same for a band of rows, and made of whole chunks

  int suggested_level(std::uint64_t k) const;
  void read_packed(const PictureView& picture);
  void mark(const PictureView& picture);
  void find_runs(int columns);

  DisplayWindow window_;
  std::vector<std::uint8_t> chunks_;  // of the coded picture, from the window's first band on: 1 where coded
  std::vector<Run> runs_;
  std::vector<std::size_t> first_run_;    // by band, index into runs_; one more at the end
  std::vector<std::size_t> first_level_;  // by row, index into levels_
  std::vector<std::uint8_t> levels_;
  bool packed_ = false;
  std::vector<LevelBlock> blocks_;
};

}  // namespace ove::saliency
