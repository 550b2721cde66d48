#include "saliency/accumulated_residual.h"

#include <algorithm>

namespace ove::saliency {

AccumulatedResidual::AccumulatedResidual(const DisplayWindow& window, Accumulate accumulate)
    : window_(window),
      accumulate_(accumulate),
      chunks_a_row_((window.width + kChunk - 1) / kChunk),
      touched_(static_cast<std::size_t>(chunks_a_row_) * ((window.y % kBand + window.height + kBand - 1) / kBand)),
      values_(static_cast<std::size_t>(chunks_a_row_) * window.height * kChunk) {}

template <class Visit>
void AccumulatedResidual::visit_all(Visit visit) {
  for (int chunk = 0; chunk < chunks_a_row_; ++chunk) {
    const auto width = static_cast<std::size_t>(std::min(kChunk, window_.width - chunk * kChunk));
    for (int y = 0; y < window_.height; ++y) {
      if (touched_[band_start(y) + chunk] != 0) visit(std::span(values_.data() + values_start(y, chunk), width));
    }
  }
}

void AccumulatedResidual::clear() {
  visit_all([](std::span<float> values) { std::fill(values.begin(), values.end(), 0.0f); });
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
    accumulate_blocks(picture.block_levels().data(), picture.blocks(), accumulate_, window_.height, values_.data());
    return;
  }
  for (int y = 0; y < window_.height; ++y) {
    const std::uint8_t* levels = picture.levels(y);
    for (const Run& run : picture.runs(y)) {
      touch(y, run.begin, run.end);
      for (int x = run.begin, end; x < run.end; x = end) {
        end = std::min(run.end, (x / kChunk + 1) * kChunk);
        const auto n = static_cast<std::size_t>(end - x);
        accumulate(levels, n, accumulate_, values_.data() + values_start(y, x / kChunk) + x % kChunk);
        levels += n;
      }
    }
  }
}

void AccumulatedResidual::add_energies(int y, const Run& part, float scale, float weight, float* out) const {
  const std::uint8_t* touched = touched_.data() + band_start(y);
  for (int chunk = part.begin / kChunk; chunk * kChunk < part.end; ++chunk) {
    if (touched[chunk] == 0) continue;
    const int begin = std::max(chunk * kChunk, part.begin), end = std::min((chunk + 1) * kChunk, part.end);
    saliency::add_energies(values_.data() + values_start(y, chunk) + begin % kChunk,
                           static_cast<std::size_t>(end - begin), scale, weight, out + (begin - part.begin));
  }
}

double AccumulatedResidual::percentile(double q) {
  // Levels and their sums are whole.
  float most = 0;
  std::uint64_t zeros = static_cast<std::uint64_t>(window_.width) * window_.height;
  visit_all([&](std::span<const float> values) {
    most = largest(values.data(), values.size(), most);
    zeros -= values.size();
  });
  counts_.assign(static_cast<std::size_t>(most) + 1, 0);
  counts_[0] = zeros;
  visit_all([&](std::span<const float> values) {
    for (const float value : values) ++counts_[static_cast<std::size_t>(value)];
  });
  return saliency::percentile(counts_, q);
}

void AccumulatedResidual::count(MagnitudeHistogram& histogram) {
  std::uint64_t zeros = static_cast<std::uint64_t>(window_.width) * window_.height;
  visit_all([&](std::span<const float> values) {
    for (const float value : values) histogram.add(value);
    zeros -= values.size();
  });
  histogram.add(0.0f, zeros);
}

}  // namespace ove::saliency
