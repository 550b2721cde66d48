#include "saliency/accumulated_residual.h"

#include <algorithm>

namespace ove::saliency {

AccumulatedResidual::AccumulatedResidual(const DisplayWindow& window, Accumulate accumulate)
    : window_(window),
      accumulate_(accumulate),
      chunks_a_row_((window.width + kChunk - 1) / kChunk),
      touched_(static_cast<std::size_t>(chunks_a_row_) * ((window.y % kBand + window.height + kBand - 1) / kBand)),
      values_(static_cast<std::size_t>(window.width) * window.height) {}

template <class Visit>
void AccumulatedResidual::visit_row(int y, Visit visit) const {
  const std::uint8_t* touched = touched_.data() + band_start(y);
  const float* row = values_.data() + static_cast<std::size_t>(y) * window_.width;
  for (int chunk = 0; chunk < chunks_a_row_; ++chunk) {
    if (touched[chunk] == 0) continue;
    const int from = chunk;
    while (chunk < chunks_a_row_ && touched[chunk] != 0) ++chunk;
    const int begin = from * kChunk, end = std::min(chunk * kChunk, window_.width);
    visit(begin, std::span(row + begin, static_cast<std::size_t>(end - begin)));
  }
}

void AccumulatedResidual::clear() {
  for (int y = 0; y < window_.height; ++y) {
    visit_row(y, [&](int begin, std::span<const float> values) {
      std::fill_n(values_.begin() + static_cast<std::ptrdiff_t>(y) * window_.width + begin, values.size(), 0.0f);
    });
  }
  std::fill(touched_.begin(), touched_.end(), std::uint8_t{0});
}

void AccumulatedResidual::add(const CodedResidual& picture) {
  const auto touch = [this](int y, int begin, int end) {
    std::uint8_t* touched = touched_.data() + band_start(y);
    std::fill(touched + begin / kChunk, touched + (end + kChunk - 1) / kChunk, std::uint8_t{1});
  };
  if (picture.packed()) {
    for (const LevelBlock& block : picture.blocks()) {
      for (int y = block.y; y < block.y + block.height; y += kBand) touch(y, block.x, block.x + block.width);
      touch(block.y + block.height - 1, block.x, block.x + block.width);
    }
    accumulate_blocks(picture.block_levels().data(), picture.blocks(), accumulate_, window_.width, values_.data());
    return;
  }
  for (int y = 0; y < window_.height; ++y) {
    float* row = values_.data() + static_cast<std::size_t>(y) * window_.width;
    const std::uint8_t* levels = picture.levels(y);
    for (const Run& run : picture.runs(y)) {
      touch(y, run.begin, run.end);
      const auto n = static_cast<std::size_t>(run.end - run.begin);
      accumulate(levels, n, accumulate_, row + run.begin);
      levels += n;
    }
  }
}

void AccumulatedResidual::add_energies(int y, const Run& part, float scale, float weight, float* out) const {
  visit_row(y, [&](int begin, std::span<const float> values) {
    const int first = std::max(begin, part.begin), end = std::min(begin + static_cast<int>(values.size()), part.end);
    if (first >= end) return;
    saliency::add_energies(values.data() + (first - begin), static_cast<std::size_t>(end - first), scale, weight,
                           out + (first - part.begin));
  });
}

double AccumulatedResidual::percentile(double q) {
  // Levels and their sums are whole.
  float most = 0;
  std::uint64_t zeros = values_.size();
  for (int y = 0; y < window_.height; ++y) {
    visit_row(y, [&](int, std::span<const float> values) {
      most = largest(values.data(), values.size(), most);
      zeros -= values.size();
    });
  }
  counts_.assign(static_cast<std::size_t>(most) + 1, 0);
  counts_[0] = zeros;
  for (int y = 0; y < window_.height; ++y) {
    visit_row(y, [&](int, std::span<const float> values) {
      for (const float value : values) ++counts_[static_cast<std::size_t>(value)];
    });
  }
  return saliency::percentile(counts_, q);
}

void AccumulatedResidual::count(MagnitudeHistogram& histogram) const {
  std::uint64_t zeros = values_.size();
  for (int y = 0; y < window_.height; ++y) {
    visit_row(y, [&](int, std::span<const float> values) {
      for (const float value : values) histogram.add(value);
      zeros -= values.size();
    });
  }
  histogram.add(0.0f, zeros);
}

}  // namespace ove::saliency
