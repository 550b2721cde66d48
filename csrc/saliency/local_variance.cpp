#include "saliency/local_variance.h"

#include <algorithm>
#include <cstddef>
#include <vector>

namespace ove::saliency {

// Sums slide down the columns first, then along each row; double keeps E[v^2] - E[v]^2 from cancelling.
void local_variance(std::span<const float> map, int width, int k, std::span<float> out) {
  const int height = static_cast<int>(map.size()) / width, radius = k / 2;
  const double area = static_cast<double>(k) * k;
  std::vector<double> sum(width, 0.0), square(width, 0.0);
  const auto add = [&](int y, double sign) {
    const float* row = map.data() + static_cast<std::size_t>(std::clamp(y, 0, height - 1)) * width;
    for (int x = 0; x < width; ++x) {
      const double value = static_cast<double>(row[x]);
      sum[x] += sign * value;
      square[x] += sign * value * value;
    }
  };
  for (int y = -radius; y < radius; ++y) add(y, 1.0);
  for (int y = 0; y < height; ++y) {
    add(y + radius, 1.0);
    float* line = out.data() + static_cast<std::size_t>(y) * width;
    double first = 0, second = 0;
    const auto step = [&](int x, double sign) {
      x = std::clamp(x, 0, width - 1);
      first += sign * sum[x];
      second += sign * square[x];
    };
    for (int x = -radius; x < radius; ++x) step(x, 1.0);
    for (int x = 0; x < width; ++x) {
      step(x + radius, 1.0);
      const double mean = first / area;
      line[x] = static_cast<float>(std::max(0.0, second / area - mean * mean));
      step(x - radius, -1.0);
    }
    add(y - radius, -1.0);
  }
}

namespace {

// Rows of the integral image of a map with borders of k / 2 repeated samples; the last k + 1 of them are kept.
class IntegralRows {
 public:
  IntegralRows(int width, int k)
      : padded_(width + k - 1),
        k_(k),
        column_sums_(padded_, 0.0f),
        rows_(static_cast<std::size_t>(padded_) * (k + 1)) {}

  // value(x) is the sample of column x, 0 <= x < width.
  template <class Value>
  void push(int width, Value value) {
    float* row = row_at(count_++);
    float sum = 0;
    for (int x = 0; x < padded_; ++x) {
      column_sums_[x] += value(std::clamp(x - k_ / 2, 0, width - 1));
      sum += column_sums_[x];
      row[x] = sum;
    }
  }

  // The mean over the last k rows, columns x + 1 to x + k.
  float mean(int x) {
    const float* below = row_at(count_ - 1);
    const float* above = row_at(count_ - 1 - k_);
    return (((below[x + k_] - above[x + k_]) - below[x]) + above[x]) / static_cast<float>(k_ * k_);
  }

 private:
  float* row_at(int y) { return rows_.data() + static_cast<std::size_t>(y % (k_ + 1)) * padded_; }

  int padded_, k_, count_ = 0;
  std::vector<float> column_sums_, rows_;
};

}  // namespace

void reference_local_variance(std::span<const float> map, int width, int k, std::span<float> out) {
  const int height = static_cast<int>(map.size()) / width, radius = k / 2;
  IntegralRows values(width, k), squares(width, k);
  float* next = out.data();
  for (int y = -radius; y < height + radius; ++y) {
    const float* row = map.data() + static_cast<std::size_t>(std::clamp(y, 0, height - 1)) * width;
    values.push(width, [&](int x) { return row[x]; });
    squares.push(width, [&](int x) { return row[x] * row[x]; });
    if (y + radius < k) continue;
    for (int x = 0; x + 1 < width; ++x) {
      const float mean = values.mean(x);
      *next++ = std::max(0.0f, squares.mean(x) - mean * mean);
    }
  }
}

}  // namespace ove::saliency
