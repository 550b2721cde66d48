#include "saliency/residual.h"

#include <algorithm>
#include <cstring>

#include "saliency/order_statistics.h"

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

void CodedResidual::mark(const PictureView& picture) {
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
    return;
  }
  for (int y = window_.y; y < window_.y + window_.height; ++y) {
    std::uint8_t* row = chunks_.data() + static_cast<std::size_t>(y / kBand - first_band) * columns;
    const std::int16_t* samples = picture.residual + static_cast<std::size_t>(y) * picture.width;
    for (std::size_t x = 0; x < columns; ++x) {
      const int begin = static_cast<int>(x) * kChunk;
      if (row[x] == 0) row[x] = !all_zero(samples + begin, std::min(kChunk, picture.width - begin));
    }
  }
}

void CodedResidual::find_runs(int columns) {
  runs_.clear();
  first_run_.clear();
  for (const std::uint8_t* row = chunks_.data(); row < chunks_.data() + chunks_.size(); row += columns) {
    first_run_.push_back(runs_.size());
    for (int x = window_.x / kChunk; x < columns; ++x) {
      if (row[x] == 0) continue;
      const int from = x;
      while (x < columns && row[x] != 0) ++x;
      const Run run{std::max(0, from * kChunk - window_.x), std::min(window_.width, x * kChunk - window_.x)};
      if (run.begin >= run.end) break;  // behind the window
      runs_.push_back(run);
    }
  }
  first_run_.push_back(runs_.size());
}

// Squares that reach out of the window are cut.
void CodedResidual::read_packed(const PictureView& picture) {
  const int shift = picture.bit_depth - 8;
  const std::int16_t* samples = picture.packed_residual;
  blocks_.clear();
  std::size_t count = 0;
  for (const CodedSquare& square : *picture.coded) count += std::size_t{16} * square.size4 * square.size4;
  levels_.resize(count);
  std::uint8_t* levels = levels_.data();
  const std::int16_t* behind = samples;  // [samples, behind) lies in the window and has yet to be read
  const auto read_whole = [&] {
    const Run run{0, static_cast<int>(behind - samples)};
    levels += residual_levels(samples, std::span(&run, 1), shift, levels);
    samples = behind;
  };
  for (const CodedSquare& square : *picture.coded) {
    const int size = 4 * square.size4, x = 4 * square.x4 - window_.x, y = 4 * square.y4 - window_.y;
    const int left = std::max(x, 0), right = std::min(x + size, window_.width);
    const int top = std::max(y, 0), bottom = std::min(y + size, window_.height);
    if (right - left == size && bottom - top == size) {
      behind += size * size;
    } else {
      read_whole();
      const Run run{left - x, right - x};
      for (int row = top - y; row < bottom - y && run.begin < run.end; ++row) {
        levels += residual_levels(samples + row * size, std::span(&run, 1), shift, levels);
      }
      samples = behind = samples + size * size;
    }
    if (left < right && top < bottom) blocks_.push_back({left, top, right - left, bottom - top});
  }
  read_whole();
  levels_.resize(static_cast<std::size_t>(levels - levels_.data()));
}

void CodedResidual::read(const PictureView& picture) {
  packed_ = picture.residual == nullptr;
  if (packed_) return read_packed(picture);
  mark(picture);
  find_runs((picture.width + kChunk - 1) / kChunk);
  first_level_.clear();
  std::size_t count = 0;
  for (int y = 0; y < window_.height; ++y) {
    first_level_.push_back(count);
    for (const Run& run : runs(y)) count += run.end - run.begin;
  }
  levels_.resize(count);
  std::uint8_t* levels = levels_.data();
  for (int y = 0; y < window_.height; ++y) {
    const std::int16_t* row = picture.residual + static_cast<std::size_t>(window_.y + y) * picture.width + window_.x;
    levels += residual_levels(row, runs(y), picture.bit_depth - 8, levels);
  }
}

// A search with four bounds at a time, the first of them about the level that a sample suggests.
double CodedResidual::percentile(double q) const {
  const std::uint64_t samples = static_cast<std::uint64_t>(window_.width) * window_.height;
  const std::uint64_t uncoded = samples - levels_.size();
  std::array<std::uint64_t, kResidualLevels> above;  // by level, where `counted`
  std::array<bool, kResidualLevels> counted{};
  const auto at = [&](std::uint64_t k) {
    if (k < uncoded) return 0.0;
    int low = 0, high = kResidualLevels - 1;  // the level lies in low..high
    const auto narrow = [&](int level) {
      if (samples - above[level] > k) {
        high = std::min(high, level);
      } else {
        low = std::max(low, level + 1);
      }
    };
    for (int level = 0; level < kResidualLevels; ++level) {
      if (counted[level]) narrow(level);
    }
    for (bool first = true; low < high; first = false) {
      std::array<std::uint8_t, 4> bounds;
      const int guess = first ? suggested_level(k - uncoded) : 0;
      for (int i = 0; i < 4; ++i) {
        bounds[i] = static_cast<std::uint8_t>(first ? std::clamp(guess - 1 + i, low, high - 1)
                                                    : low + (high - low) * (i + 1) / 5);
      }
      std::uint64_t counts[4];
      count_above(levels_.data(), levels_.size(), bounds.data(), counts);
      for (int i = 0; i < 4; ++i) {
        above[bounds[i]] = counts[i];
        counted[bounds[i]] = true;
        narrow(bounds[i]);
      }
    }
    return static_cast<double>(low);
  };
  return interpolate_ranks(samples, q, at);
}

// About the k-th smallest of the levels.
int CodedResidual::suggested_level(std::uint64_t k) const {
  constexpr std::size_t kSample = 1000;
  const std::size_t step = levels_.size() / kSample + 1;
  std::array<std::uint32_t, kResidualLevels> counts{};
  for (std::size_t i = step / 2; i < levels_.size(); i += step) ++counts[levels_[i]];
  std::uint64_t below = 0;
  int level = 0;
  while (level < kResidualLevels - 1 && (below += counts[level]) * step <= k) ++level;
  return level;
}

void CodedResidual::count(ResidualHistogram& histogram) const {
  histogram[0] += static_cast<std::uint64_t>(window_.width) * window_.height - levels_.size();
  for (const std::uint8_t level : levels_) ++histogram[level];
}

}  // namespace ove::saliency
