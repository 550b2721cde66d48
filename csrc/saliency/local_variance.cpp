#include "saliency/local_variance.h"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "saliency/formulas.h"

namespace ove::saliency {

const float* LocalVariance::row(int y, const Source& source) {
  if (next_ < 0 || y < next_ - 1) {
    restart(source);
    next_ = 0;
  }
  for (; next_ <= y; ++next_) last_ = advance(source);
  return last_;
}

namespace {

// Sums slide down the columns first, then along each row; double keeps E[v^2] - E[v]^2 from cancelling.
class ExactVariance final : public LocalVariance {
 public:
  ExactVariance(int width, int height, int k)
      : LocalVariance(width, height),
        k_(k),
        sum_(width),
        square_(width),
        kept_(static_cast<std::size_t>(k + 1) * width),
        line_(width) {}

 private:
  void restart(const Source& source) override {
    std::fill(sum_.begin(), sum_.end(), 0.0);
    std::fill(square_.begin(), square_.end(), 0.0);
    y_ = fetched_ = 0;
    for (int y = -(k_ / 2); y < k_ / 2; ++y) add(y, 1.0, source);
  }

  const float* advance(const Source& source) override {
    const int radius = k_ / 2, width = columns();
    const double area = static_cast<double>(k_) * k_;
    add(y_ + radius, 1.0, source);
    double first = 0, second = 0;
    const auto step = [&](int x, double sign) {
      x = std::clamp(x, 0, width - 1);
      first += sign * sum_[x];
      second += sign * square_[x];
    };
    for (int x = -radius; x < radius; ++x) step(x, 1.0);
    for (int x = 0; x < width; ++x) {
      step(x + radius, 1.0);
      line_[x] = window_variance(first, second, area);
      step(x - radius, -1.0);
    }
    add(y_ - radius, -1.0, source);
    ++y_;
    return line_.data();
  }

  void add(int y, double sign, const Source& source) {
    y = std::clamp(y, 0, rows() - 1);
    float* row = kept_.data() + static_cast<std::size_t>(y % (k_ + 1)) * columns();
    if (y == fetched_) {
      std::copy_n(source(y), columns(), row);
      ++fetched_;
    }
    for (int x = 0; x < columns(); ++x) {
      const double value = static_cast<double>(row[x]);
      sum_[x] += sign * value;
      square_[x] += sign * value * value;
    }
  }

  int k_;
  std::vector<double> sum_, square_;
  std::vector<float> kept_, line_;  // kept_: the rows of the map in the window, row y at y % (k + 1)
  int y_ = 0, fetched_ = 0;         // next row of the variance, of the map
};

class ReferenceVariance final : public LocalVariance {
 public:
  ReferenceVariance(int width, int height, int k)
      : LocalVariance(width - 1, height - 1),
        k_(k),
        height_(height),
        padded_(width + k - 1),
        values_(padded_, k),
        squares_(padded_, k),
        row_(padded_),
        line_(std::max(0, width - 1)) {}

 private:
  // Rows of an integral image, the last k + 1 of them.
  struct Integral {
    Integral(int width, int k) : column_sums(width), rows(static_cast<std::size_t>(k + 1) * width) {}
    std::vector<float> column_sums, rows;
  };

  void restart(const Source& source) override {
    std::fill(values_.column_sums.begin(), values_.column_sums.end(), 0.0f);
    std::fill(squares_.column_sums.begin(), squares_.column_sums.end(), 0.0f);
    pushed_ = fetched_ = 0;
    for (int y = 0; y < k_; ++y) push(source);
  }

  const float* advance(const Source& source) override {
    push(source);
    for (int x = 0; x < columns(); ++x) {
      line_[x] = reference_variance(mean_of(values_, x), mean_of(squares_, x));
    }
    return line_.data();
  }

  float* row_at(Integral& image, int y) { return image.rows.data() + static_cast<std::size_t>(y % (k_ + 1)) * padded_; }

  void push(const Source& source) {
    const int radius = k_ / 2, width = padded_ - 2 * radius, y = std::clamp(pushed_ - radius, 0, height_ - 1);
    if (y == fetched_) {
      std::copy_n(source(y), width, row_.begin() + radius);
      std::fill_n(row_.begin(), radius, row_[radius]);
      std::fill_n(row_.end() - radius, radius, row_[radius + width - 1]);
      ++fetched_;
    }
    float* value_row = row_at(values_, pushed_);
    float* square_row = row_at(squares_, pushed_);
    for (int x = 0; x < padded_; ++x) values_.column_sums[x] += row_[x];
    for (int x = 0; x < padded_; ++x) squares_.column_sums[x] += row_[x] * row_[x];
    float value_sum = 0, square_sum = 0;
    for (int x = 0; x < padded_; ++x) {
      value_row[x] = value_sum += values_.column_sums[x];
      square_row[x] = square_sum += squares_.column_sums[x];
    }
    ++pushed_;
  }

  // Over the last k rows, columns x + 1 to x + k.
  float mean_of(Integral& image, int x) {
    const float* below = row_at(image, pushed_ - 1);
    const float* above = row_at(image, pushed_ - 1 - k_);
    return integral_mean(below[x + k_], above[x + k_], below[x], above[x], k_);
  }

  int k_, height_, padded_;
  Integral values_, squares_;
  std::vector<float> row_, line_;  // row_: of the map, with its borders
  int pushed_ = 0, fetched_ = 0;
};

}  // namespace

std::unique_ptr<LocalVariance> make_local_variance(int width, int height, int k) {
  return std::make_unique<ExactVariance>(width, height, k);
}

std::unique_ptr<LocalVariance> make_reference_local_variance(int width, int height, int k) {
  return std::make_unique<ReferenceVariance>(width, height, k);
}

}  // namespace ove::saliency
