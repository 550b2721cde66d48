#include "saliency/order_statistics.h"

#include "saliency/rows.h"

namespace ove::saliency {

namespace {

float value_of(std::uint32_t ordered) {
  return std::bit_cast<float>(ordered & 0x80000000u ? ordered & 0x7fffffffu : ~ordered);
}

// The index of the counter in which rank k lies; `below` becomes the sum of the counters before it.
template <class Counts>
std::uint32_t find_rank(const Counts& counts, std::uint64_t k, std::uint64_t& below) {
  std::uint32_t i = 0;
  while (below + counts[i] <= k) below += counts[i++];
  return i;
}

}  // namespace

double PercentileFinder::find(std::span<const float> values, double q) {
  values_ = values;
  if (values.empty()) return 0.0;
  const Rank rank = rank_of(values.size(), q);
  float low = 0, high = 0;
  if (!find_between(rank, low, high)) {
    if (keys_.size() < values.size()) keys_.resize(values.size());
    below_ = equal_ = 0;
    low = least(rank.low);
    high = rank.high == rank.low ? low : least(rank.high);
  }
  return static_cast<double>(low) + (static_cast<double>(high) - static_cast<double>(low)) * rank.fraction;
}

// The values of these ranks, if they lie between the bounds that a sample suggests.
bool PercentileFinder::find_between(const Rank& rank, float& low, float& high) {
  constexpr std::size_t kLeast = 1 << 12;
  if (values_.size() < kLeast) return false;
  // Work on the sample and on what lies between the bounds is least with a sample of about n^(2/3).
  const auto step = static_cast<std::size_t>(std::cbrt(static_cast<double>(values_.size())));
  sample_.clear();
  for (std::size_t i = step / 2; i < values_.size(); i += step) sample_.push_back(values_[i]);
  const auto count_sampled = static_cast<double>(sample_.size());
  const double share = static_cast<double>(rank.low) / static_cast<double>(values_.size());
  // Four standard deviations of the rank in the sample, and some more.
  const auto margin = static_cast<std::size_t>(4 * std::sqrt(count_sampled * share * (1 - share))) + 8;
  const auto at = static_cast<std::size_t>(share * count_sampled);
  const auto first = sample_.begin() + static_cast<std::ptrdiff_t>(at < margin ? 0 : at - margin);
  const auto last = sample_.begin() + static_cast<std::ptrdiff_t>(std::min(at + margin, sample_.size() - 1));
  std::nth_element(sample_.begin(), first, sample_.end());
  if (last != first) std::nth_element(first + 1, last, sample_.end());
  between_.resize(values_.size());
  std::uint64_t below = 0;
  const std::size_t count = keep_between(values_.data(), values_.size(), *first, *last, between_.data(), below);
  if (rank.low < below || rank.high >= below + count) return false;
  low = high = *first;
  if (*first == *last) return true;
  const auto end = between_.begin() + static_cast<std::ptrdiff_t>(count);
  const auto found = between_.begin() + static_cast<std::ptrdiff_t>(rank.low - below);
  std::nth_element(between_.begin(), found, end);
  low = *found;
  high = rank.high == rank.low ? low : *std::min_element(found + 1, end);
  return true;
}

float PercentileFinder::least(std::uint64_t k) {
  if (equal_ != 0) return below_ <= k && k < below_ + equal_ ? value_of(key_) : next();
  std::size_t left = values_.size();
  for (const int shift : {21, 10, 0}) {
    if (shift == 21) {
      count(left, shift, [&](std::size_t i) { return keys_[i] = ordered_bits(values_[i]); });
    } else {
      count(left, shift, [&](std::size_t i) { return keys_[i]; });
    }
    const std::uint32_t digit = find_rank(counts_[0], k, below_);
    equal_ = counts_[0][digit];
    if (equal_ < left) left = keep(left, shift, digit);
  }
  key_ = keys_[0];
  return value_of(key_);
}

// Four counters a digit: one that is hit again and again would wait for itself, and vectors come in runs.
template <class Key>
void PercentileFinder::count(std::size_t n, int shift, Key key) {
  for (auto& counts : counts_) counts.fill(0);
  std::size_t i = 0;
  for (; i + 4 <= n; i += 4) {
    for (std::size_t lane = 0; lane < 4; ++lane) ++counts_[lane][key(i + lane) >> shift & kMask];
  }
  for (; i < n; ++i) ++counts_[0][key(i) >> shift & kMask];
  for (std::size_t digit = 0; digit <= kMask; ++digit) {
    counts_[0][digit] += counts_[1][digit] + counts_[2][digit] + counts_[3][digit];
  }
}

// Moves the keys with this digit to the front and returns how many there are.
std::size_t PercentileFinder::keep(std::size_t left, int shift, std::uint32_t digit) {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < left; ++i) {
    const std::uint32_t key = keys_[i];
    keys_[kept] = key;
    kept += (key >> shift & kMask) == digit;
  }
  return kept;
}

float PercentileFinder::next() const {
  std::uint32_t least = std::numeric_limits<std::uint32_t>::max();
  for (const float value : values_) {
    const std::uint32_t key = ordered_bits(value);
    least = std::min(least, key > key_ ? key : std::numeric_limits<std::uint32_t>::max());
  }
  return value_of(least);
}

void TwoPassPercentile::begin() {
  high_.assign(1u << 16, 0);
  n_ = 0;
}

void TwoPassPercentile::first_pass(std::span<const float> values, std::uint32_t weight) {
  for (const float value : values) high_[ordered_bits(value) >> 16] += weight;
  n_ += values.size() * weight;
}

void TwoPassPercentile::between(double q) {
  q_ = q;
  low_.assign(1u << 16, 0);
  below_ = 0;
  above_ = std::numeric_limits<std::uint32_t>::max();
  if (n_ != 0) half_ = find_rank(high_, rank_of(n_, q).low, below_);
}

void TwoPassPercentile::second_pass(std::span<const float> values, std::uint32_t weight) {
  for (const float value : values) {
    const std::uint32_t key = ordered_bits(value), half = key >> 16;
    if (half == half_) low_[key & 0xffffu] += weight;
    if (half > half_) above_ = std::min(above_, key);
  }
}

double TwoPassPercentile::result() const {
  const std::uint64_t end = n_ == 0 ? 0 : below_ + high_[half_];
  return interpolate_ranks(n_, q_, [&](std::uint64_t k) {
    if (k >= end) return static_cast<double>(value_of(above_));
    std::uint64_t below = below_;
    return static_cast<double>(value_of(half_ << 16 | find_rank(low_, k, below)));
  });
}

double percentile(std::span<const std::uint64_t> counts, double q) {
  std::uint64_t n = 0;
  for (const std::uint64_t count : counts) n += count;
  return interpolate_ranks(n, q, [&](std::uint64_t k) {
    std::uint64_t below = 0;
    return static_cast<double>(find_rank(counts, k, below));
  });
}

double percentile(std::vector<std::pair<float, std::uint64_t>>& values, double q) {
  std::sort(values.begin(), values.end());
  std::uint64_t n = 0;
  for (const auto& [value, count] : values) n += count;
  return interpolate_ranks(n, q, [&](std::uint64_t k) {
    std::size_t i = 0;
    for (std::uint64_t below = 0; (below += values[i].second) <= k;) ++i;
    return static_cast<double>(values[i].first);
  });
}

void MagnitudeHistogram::add(float value, std::uint64_t count) {
  const std::uint32_t bin = magnitude_bin(value);
  std::vector<std::uint64_t>& page = pages_[bin / kPageBins % pages_.size()];
  if (page.empty()) page.resize(kPageBins);
  page[bin % kPageBins] += count;
  total_ += count;
}

double MagnitudeHistogram::percentile(double q) const {
  return interpolate_ranks(total_, q, [&](std::uint64_t k) {
    std::uint64_t below = 0;
    for (std::uint32_t exponent = 0; exponent < pages_.size(); ++exponent) {
      for (std::uint32_t i = 0; i < pages_[exponent].size(); ++i) {
        below += pages_[exponent][i];
        if (below > k) return static_cast<double>(magnitude_of_bin(exponent * kPageBins + i));
      }
    }
    return 0.0;  // not reached: k < total_
  });
}

}  // namespace ove::saliency
