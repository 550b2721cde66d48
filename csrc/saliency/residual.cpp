#include "saliency/residual.h"

#include <cstring>

namespace ove::saliency {

namespace {

bool all_zero(const std::int16_t* samples, int count) {
  int i = 0;
  for (; i + 16 <= count; i += 16) {
    std::uint64_t words[4];
    std::memcpy(words, samples + i, sizeof(words));
    if ((words[0] | words[1] | words[2] | words[3]) != 0) return false;
  }
  return std::all_of(samples + i, samples + count, [](std::int16_t sample) { return sample == 0; });
}

}  // namespace

void CodedRuns::find(const PictureView& picture) {
  const std::size_t columns = (static_cast<std::size_t>(picture.width) + kChunk - 1) / kChunk;
  const int first_band = window_.y / kBand, end_band = (window_.y + window_.height + kBand - 1) / kBand;
  chunks_.assign(columns * static_cast<std::size_t>(end_band - first_band), 0);
  if (picture.coded) {
    constexpr int kBlocks = kChunk / 4;
    for (const CodedSquare& square : *picture.coded) {
      const int top = std::max<int>(square.y4, first_band), bottom = std::min(square.y4 + square.size4, end_band);
      const std::size_t left = square.x4 / kBlocks;
      const std::size_t right = std::min<std::size_t>((square.x4 + square.size4 + kBlocks - 1) / kBlocks, columns);
      for (int band = top; band < bottom; ++band) {
        std::uint8_t* row = chunks_.data() + static_cast<std::size_t>(band - first_band) * columns;
        for (std::size_t x = left; x < right; ++x) row[x] = 1;
      }
    }
  } else {
    for (int y = window_.y; y < window_.y + window_.height; ++y) {
      std::uint8_t* row = chunks_.data() + static_cast<std::size_t>(y / kBand - first_band) * columns;
      const std::int16_t* samples = picture.residual + static_cast<std::size_t>(y) * picture.width;
      for (std::size_t x = 0; x < columns; ++x) {
        const int begin = static_cast<int>(x) * kChunk;
        if (row[x] == 0) row[x] = !all_zero(samples + begin, std::min(kChunk, picture.width - begin));
      }
    }
  }

  runs_.clear();
  first_.clear();
  samples_ = 0;
  for (int band = first_band; band < end_band; ++band) {
    first_.push_back(runs_.size());
    const std::uint8_t* row = chunks_.data() + static_cast<std::size_t>(band - first_band) * columns;
    const int rows = std::min((band + 1) * kBand, window_.y + window_.height) - std::max(band * kBand, window_.y);
    for (std::size_t x = window_.x / kChunk; x < columns; ++x) {
      if (row[x] == 0) continue;
      const std::size_t from = x;
      while (x < columns && row[x] != 0) ++x;
      const Run run{std::max(0, static_cast<int>(from) * kChunk - window_.x),
                    std::min(window_.width, static_cast<int>(x) * kChunk - window_.x)};
      if (run.begin >= run.end) break;
      runs_.push_back(run);
      samples_ += static_cast<std::uint64_t>(rows) * (run.end - run.begin);
    }
  }
  first_.push_back(runs_.size());
}

void count_residual(const PictureView& picture, const DisplayWindow& window, const CodedRuns& runs,
                    ResidualHistogram& histogram) {
  const int shift = picture.bit_depth - 8;
  // Eight counters a level, so that a run of one level does not wait for its own last increment.
  constexpr int kLanes = 8;
  std::uint32_t counts[kLanes][kResidualLevels] = {};
  for (int y = 0; y < window.height; ++y) {
    const std::int16_t* row = residual_row(picture, window, y);
    for (const CodedRuns::Run& run : runs.row(y)) {
      int x = run.begin;
      for (; x + kLanes <= run.end; x += kLanes) {
        std::int16_t level[kLanes];
        for (int i = 0; i < kLanes; ++i) level[i] = residual_level(row[x + i], shift);
        for (int i = 0; i < kLanes; ++i) ++counts[i][level[i]];
      }
      for (; x < run.end; ++x) ++counts[0][residual_level(row[x], shift)];
    }
  }
  histogram[0] += static_cast<std::uint64_t>(window.width) * window.height - runs.samples();
  for (int level = 0; level < kResidualLevels; ++level) {
    for (const auto& lane : counts) histogram[level] += lane[level];
  }
}

}  // namespace ove::saliency
