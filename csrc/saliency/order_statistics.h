// Exact percentiles. Everywhere the definition of numpy.percentile(method="linear"): the value at rank
// q / 100 * (n - 1) of the sorted values, linear between neighbours. Of no values at all it is 0.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "saliency/formulas.h"

namespace ove::saliency {

// at(k) is the k-th smallest of n values; asked in ascending order.
template <class At>
double interpolate_ranks(std::uint64_t n, double q, At at) {
  if (n == 0) return 0.0;
  const Rank rank = rank_of(n, q);
  const double a = at(rank.low);
  return between_ranks(rank, a, rank.low == rank.high ? a : at(rank.high));
}

// Of finite floats: between two bounds guessed from a sample of them, or, where the guess fails, in three counting
// passes over their bits. Keeps its scratch memory.
class PercentileFinder {
 public:
  double find(std::span<const float> values, double q);

 private:
  static constexpr std::uint32_t kMask = (1u << 11) - 1;

  bool find_between(const Rank& rank, float& low, float& high);
  float least(std::uint64_t k);  // the k-th smallest of values_
  float next() const;            // the smallest above the one found
  template <class Key>
  void count(std::size_t n, int shift, Key key);
  std::size_t keep(std::size_t left, int shift, std::uint32_t digit);

  std::span<const float> values_;
  std::vector<float> sample_, between_;
  std::vector<std::uint32_t> keys_;
  std::array<std::array<std::uint32_t, kMask + 1>, 4> counts_;
  std::uint32_t key_ = 0;
  std::uint64_t below_ = 0, equal_ = 0;
};

inline double percentile(std::span<const float> values, double q) { return PercentileFinder().find(values, q); }
inline double median(std::span<const float> values) { return percentile(values, 50.0); }

// counts[v] is how often the integer v occurs.
double percentile(std::span<const std::uint64_t> counts, double q);

// Values with the number of their occurrences; sorts `values`.
double percentile(std::vector<std::pair<float, std::uint64_t>>& values, double q);

// Of finite floats that come by twice, in any order and in parts, without keeping them.
class TwoPassPercentile {
 public:
  void begin();
  // Each value counts `weight` times, in both passes alike.
  void first_pass(std::span<const float> values, std::uint32_t weight = 1);
  void between(double q);
  void second_pass(std::span<const float> values, std::uint32_t weight = 1);
  double result() const;

 private:
  std::vector<std::uint32_t> high_, low_;  // counts by the upper half of the ordered bits, and by the lower one of one
  std::uint64_t n_ = 0, below_ = 0;
  std::uint32_t half_ = 0;                                           // the upper half where rank `low` lies
  std::uint32_t above_ = std::numeric_limits<std::uint32_t>::max();  // the smallest value behind that half
  double q_ = 0;
};

// Counts of non-negative floats in bounded memory: every value is kept to 16 bits behind its leading one,
// so that a percentile is exact to 2^-17 of itself.
class MagnitudeHistogram {
 public:
  void add(float value, std::uint64_t count = 1);
  double percentile(double q) const;

 private:
  static constexpr std::uint32_t kPageBins = 1u << (23 - kDroppedBits);
  std::array<std::vector<std::uint64_t>, 256> pages_;  // by exponent, allocated when one occurs
  std::uint64_t total_ = 0;
};

}  // namespace ove::saliency
