// |Y - 128| of several pictures: at every sample of the display window their sum or the largest.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/geometry.h"
#include "saliency/order_statistics.h"
#include "saliency/params.h"
#include "saliency/residual.h"
#include "saliency/rows.h"

namespace ove::saliency {

// As with one picture, what reads it follows what was coded. Sums are whole and exact up to 2^24, some 130000 pictures.
class AccumulatedResidual {
 public:
  AccumulatedResidual(const DisplayWindow& window, Accumulate accumulate);

  void clear();
  void add(const CodedResidual& picture);

  // out += weight * min(scale * value, 1) at the columns `part` of row y of the window, out[0] being its first one.
  void add_energies(int y, const Run& part, float scale, float weight, float* out) const;

  // Of all samples of the window.
  double percentile(double q);
  void count(MagnitudeHistogram& histogram);

 private:
  // All samples of a cell of a chunk and a band count as added where some were.
  static constexpr int kBand = 4, kChunk = kStripWidth;

  // Of the chunk with this number in row y.
  std::size_t values_start(int y, int chunk) const {
    return (static_cast<std::size_t>(chunk) * static_cast<std::size_t>(window_.height) + static_cast<std::size_t>(y)) *
           kChunk;
  }
  // Of row y, where its band begins in touched_.
  std::size_t band_start(int y) const {
    return static_cast<std::size_t>((y + window_.y % kBand) / kBand) * static_cast<std::size_t>(chunks_a_row_);
  }

  // Calls visit(values) with the values of one chunk of a row after the other, where something was added, in the order
  // of memory.
  template <class Visit>
  void visit_all(Visit visit);

  DisplayWindow window_;
  Accumulate accumulate_;
  int chunks_a_row_;
  std::vector<std::uint8_t> touched_;  // (bands, chunks_a_row_) 1 where something was added
  std::vector<float> values_;          // (chunks_a_row_, height, kChunk): rows of a block lie side by side
  std::vector<std::uint64_t> counts_;  // of each value, for percentiles
};

}  // namespace ove::saliency
