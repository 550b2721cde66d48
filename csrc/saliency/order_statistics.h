// Exact percentiles. Everywhere the definition of numpy.percentile(method="linear"): the value at rank
// q / 100 * (n - 1) of the sorted values, linear between neighbours. Of no values at all it is 0.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace ove::saliency {

// Unsigned integers in the order of the floats.
inline std::uint32_t ordered_bits(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// Finite floats, in three counting passes over their bits.
double percentile(std::span<const float> values, double q);
inline double median(std::span<const float> values) { return percentile(values, 50.0); }

// counts[v] is how often the integer v occurs.
double percentile(std::span<const std::uint64_t> counts, double q);

// Values with the number of their occurrences; sorts `values`.
double percentile(std::vector<std::pair<float, std::uint64_t>>& values, double q);

// Counts of non-negative floats in bounded memory: every value is kept to 16 bits behind its leading one,
// so that a percentile is exact to 2^-17 of itself.
class MagnitudeHistogram {
 public:
  void add(float value, std::uint64_t count = 1);
  double percentile(double q) const;

 private:
  static constexpr int kDroppedBits = 7;
  std::array<std::vector<std::uint64_t>, 256> pages_;  // by exponent, allocated when one occurs
  std::uint64_t total_ = 0;
};

}  // namespace ove::saliency
