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

float value_of(std::uint32_t ordered) {
  return std::bit_cast<float>(ordered & 0x80000000u ? ordered & 0x7fffffffu : ~ordered);
}

// The k-th smallest values of a set, found digit by digit of their ordered bits.
class RadixSelect {
 public:
  explicit RadixSelect(std::span<const float> values) : values_(values), keys_(values.size()) {}

  float at(std::uint64_t k) {
    if (below_ <= k && k < below_ + equal_) return value_of(key_);
    if (equal_ != 0 && k == below_ + equal_) return next();
    std::transform(values_.begin(), values_.end(), keys_.begin(), ordered_bits);
    std::size_t left = keys_.size();
    below_ = 0;
    for (const int shift : {21, 10, 0}) {
      count(std::span(keys_).first(left), shift);
      std::uint32_t digit = 0;
      while (below_ + counts_[0][digit] <= k) below_ += counts_[0][digit++];
      equal_ = counts_[0][digit];
      if (equal_ < left) left = keep(left, shift, digit);
    }
    key_ = keys_[0];
    return value_of(key_);
  }

 private:
  static constexpr std::uint32_t kMask = (1u << 11) - 1;

  // Four counters a digit: one that is hit again and again would wait for itself, and vectors come in runs.
  void count(std::span<const std::uint32_t> keys, int shift) {
    for (auto& counts : counts_) counts.fill(0);
    std::size_t i = 0;
    for (; i + 4 <= keys.size(); i += 4) {
      for (std::size_t lane = 0; lane < 4; ++lane) ++counts_[lane][keys[i + lane] >> shift & kMask];
    }
    for (; i < keys.size(); ++i) ++counts_[0][keys[i] >> shift & kMask];
    for (std::size_t digit = 0; digit <= kMask; ++digit) {
      counts_[0][digit] += counts_[1][digit] + counts_[2][digit] + counts_[3][digit];
    }
  }

  // Moves the keys with this digit to the front and returns how many there are.
  std::size_t keep(std::size_t left, int shift, std::uint32_t digit) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < left; ++i) {
      const std::uint32_t key = keys_[i];
      keys_[kept] = key;
      kept += (key >> shift & kMask) == digit;
    }
    return kept;
  }

  // The smallest value above the one found.
  float next() const {
    std::uint32_t least = 0xffffffffu;
    for (const float value : values_) {
      const std::uint32_t key = ordered_bits(value);
      least = std::min(least, key > key_ ? key : 0xffffffffu);
    }
    return value_of(least);
  }

  std::span<const float> values_;
  std::vector<std::uint32_t> keys_;
  std::array<std::array<std::uint32_t, kMask + 1>, 4> counts_;
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
