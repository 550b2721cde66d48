// |Y - 128|: the magnitude of the luma residual scaled to 8 bits and clipped to [-128, 127], 0..128.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "common/geometry.h"
#include "saliency/picture.h"

namespace ove::saliency {

constexpr int kResidualLevels = 129;
using ResidualHistogram = std::array<std::uint64_t, kResidualLevels>;

// Sixteen-bit arithmetic throughout: compilers turn it into the narrow minima and maxima that every CPU has.
inline std::int16_t residual_level(std::int16_t residual, int shift) {
  const auto scaled = static_cast<std::int16_t>(residual >> shift);
  const std::int16_t level = std::min<std::int16_t>(std::max<std::int16_t>(scaled, -128), 127);
  return static_cast<std::int16_t>(level < 0 ? -level : level);
}

inline const std::int16_t* residual_row(const PictureView& picture, const DisplayWindow& window, int y) {
  return picture.residual + static_cast<std::size_t>(window.y + y) * picture.width + window.x;
}

// Where the residual of a picture may differ from 0, so that what reads it follows the bits and not the samples.
class CodedRuns {
 public:
  struct Run {
    int begin = 0, end = 0;  // columns of the window
  };

  explicit CodedRuns(const DisplayWindow& window) : window_(window) {}

  // Of the coded squares where the picture names them, else of its samples.
  void find(const PictureView& picture);

  // Ascending and apart, for row y of the window.
  std::span<const Run> row(int y) const {
    const int band = (y + window_.y % kBand) / kBand;
    return std::span(runs_).subspan(first_[band], first_[band + 1] - first_[band]);
  }
  // Samples of the window in all runs.
  std::uint64_t samples() const { return samples_; }

 private:
  static constexpr int kBand = 4, kChunk = 16;  // runs are the same for a band of rows, and made of whole chunks

  DisplayWindow window_;
  std::vector<std::uint8_t> chunks_;  // of the coded picture, band after band: 1 where coded
  std::vector<Run> runs_;
  std::vector<std::size_t> first_;  // by band, index into runs_; one more at the end
  std::uint64_t samples_ = 0;
};

// Adds the magnitudes of the window to `histogram`.
void count_residual(const PictureView& picture, const DisplayWindow& window, const CodedRuns& runs,
                    ResidualHistogram& histogram);

}  // namespace ove::saliency
