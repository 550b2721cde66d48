#include "saliency/order_statistics.h"

#include <algorithm>
#include <cmath>

namespace ove::saliency {

namespace {

struct Rank {
  std::uint64_t low;
  double fraction;
};

Rank rank_of(std::uint64_t n, double q) {
  const double position = q / 100.0 * static_cast<double>(n - 1);
  const double low = std::floor(position);
  return {std::min(n - 1, static_cast<std::uint64_t>(low)), position - low};
}

// at(k) is the k-th smallest of n values.
template <class At>
double interpolate(std::uint64_t n, double q, At at) {
  if (n == 0) return 0.0;
  const Rank rank = rank_of(n, q);
  const double a = at(rank.low);
  if (rank.fraction == 0.0 || rank.low + 1 == n) return a;
  const double b = at(rank.low + 1);
  return a + (b - a) * rank.fraction;
}

float value_of(std::uint32_t key) { return std::bit_cast<float>(key & 0x80000000u ? key & 0x7fffffffu : ~key); }

// The smallest and the next value of a sorted order at rank k, found digit by digit.
class RadixSelect {
 public:
  explicit RadixSelect(std::span<const float> values) : values_(values) {}

  float at(std::uint64_t k) {
    if (known_ && k >= below_ && k < below_ + equal_) return value_of(key_);
    std::uint32_t prefix = 0;
    std::uint64_t below = 0, equal = 0;
    for (const auto& [shift, width] : {std::pair{21, 11}, std::pair{10, 11}, std::pair{0, 10}}) {
      count(prefix, shift, width);
      std::uint32_t digit = 0;
      while (below + counts_[digit] <= k) below += counts_[digit++];
      equal = counts_[digit];
      prefix |= digit << shift;
    }
    known_ = true;
    key_ = prefix;
    below_ = below;
    equal_ = equal;
    return value_of(prefix);
  }

 private:
  // Counts the digit of those keys that share the digits above it. Runs of one value are counted at once: vectors
  // repeat over the blocks of a prediction unit, and a counter hit again and again would wait for itself.
  void count(std::uint32_t prefix, int shift, int width) {
    counts_.fill(0);
    const std::uint32_t mask = (1u << width) - 1;
    const int top = shift + width;
    std::uint32_t last = 0;
    std::uint32_t run = 0;
    const auto flush = [&] {
      if (run != 0 && (top == 32 || last >> top == prefix >> top)) counts_[last >> shift & mask] += run;
    };
    for (const float value : values_) {
      const std::uint32_t key = ordered_bits(value);
      if (key != last) {
        flush();
        last = key;
        run = 0;
      }
      ++run;
    }
    flush();
  }

  std::span<const float> values_;
  std::array<std::uint32_t, 2048> counts_;
  bool known_ = false;
  std::uint32_t key_ = 0;
  std::uint64_t below_ = 0, equal_ = 0;
};

}  // namespace

double percentile(std::span<const float> values, double q) {
  RadixSelect select(values);
  return interpolate(values.size(), q, [&](std::uint64_t k) { return static_cast<double>(select.at(k)); });
}

double percentile(std::span<const std::uint64_t> counts, double q) {
  std::uint64_t n = 0;
  for (const std::uint64_t count : counts) n += count;
  return interpolate(n, q, [&](std::uint64_t k) {
    std::size_t value = 0;
    for (std::uint64_t below = 0; (below += counts[value]) <= k;) ++value;
    return static_cast<double>(value);
  });
}

double percentile(std::vector<std::pair<float, std::uint64_t>>& values, double q) {
  std::sort(values.begin(), values.end());
  std::uint64_t n = 0;
  for (const auto& [value, count] : values) n += count;
  return interpolate(n, q, [&](std::uint64_t k) {
    std::size_t i = 0;
    for (std::uint64_t below = 0; (below += values[i].second) <= k;) ++i;
    return static_cast<double>(values[i].first);
  });
}

void MagnitudeHistogram::add(float value, std::uint64_t count) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value) + (1u << (kDroppedBits - 1));
  std::vector<std::uint64_t>& page = pages_[bits >> 23 & 255];
  if (page.empty()) page.resize(1u << (23 - kDroppedBits));
  page[(bits & 0x7fffffu) >> kDroppedBits] += count;
  total_ += count;
}

double MagnitudeHistogram::percentile(double q) const {
  return interpolate(total_, q, [&](std::uint64_t k) {
    std::uint64_t below = 0;
    for (std::uint32_t exponent = 0; exponent < pages_.size(); ++exponent) {
      for (std::uint32_t i = 0; i < pages_[exponent].size(); ++i) {
        below += pages_[exponent][i];
        if (below > k) return static_cast<double>(std::bit_cast<float>(exponent << 23 | i << kDroppedBits));
      }
    }
    return 0.0;  // not reached: k < total_
  });
}

}  // namespace ove::saliency
