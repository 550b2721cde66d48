#include "pipeline/frame_facts.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace ove::pipeline {

void FrameSums::Sums::add(int value) {
  sum += value;
  squares += static_cast<std::int64_t>(value) * value;
  low = std::min(low, value);
  high = std::max(high, value);
}

FrameFacts::Channel FrameSums::Sums::over(double count) const {
  const double mean = static_cast<double>(sum) / count;
  const double variance = static_cast<double>(squares) / count - mean * mean;
  return {mean, std::sqrt(std::max(variance, 0.0)), high - low};
}

void FrameSums::add(std::span<const std::uint8_t> row) {
  for (std::size_t at = 0; at + 2 < row.size(); at += 3, ++count_) {
    const int red = row[at], green = row[at + 1], blue = row[at + 2];
    sums_[0].add((299 * red + 587 * green + 114 * blue + 500) / 1000);
    sums_[1].add(red);
    sums_[2].add(green);
    sums_[3].add(blue);
    screen_ += green >= 180 && red <= 90 && blue <= 90;
  }
}

FrameFacts FrameSums::facts() const {
  const auto count = static_cast<double>(std::max<std::int64_t>(count_, 1));
  return {sums_[0].over(count), sums_[1].over(count), sums_[2].over(count), sums_[3].over(count),
          static_cast<double>(screen_) / count};
}

}  // namespace ove::pipeline
