// Runs of work in blocks of memory, and exact percentiles, on whatever runs them. `Executor` does so on a GPU
// (executor.cuh) or in plain loops (the tests' twin):
//   for_each(n, f)                       f(i) for every i below n, in any order
//   count(segments, n, bins, counts, f)  counts[s * bins + f(s, i).bin] += f(s, i).weight for i below n; bin < 0: none
//   zero(pointer, bytes)
//   sort(keys, sorted, segments, total, begins)
//                                        numbers of segment s lie at begins(s) to begins(s + 1), `total` of them in all
//   sort(keys, sorted, n, bits)          numbers below 2^bits
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>

#include "common/host_device.h"
#include "saliency/formulas.h"

namespace ove::cuda {

// Hands out parts of a block of memory, or only counts, from a null pointer on.
class Arena {
 public:
  // Gives memory of just so many bytes; tests have their tools watch its ends.
  using Allocate = std::function<std::byte*(std::int64_t)>;

  explicit Arena(std::byte* memory) : memory_(memory) {}
  explicit Arena(Allocate allocate) : allocate_(std::move(allocate)) {}

  template <class T>
  T* take(std::int64_t count) {
    constexpr std::int64_t kAlignment = 256;
    if (allocate_) return reinterpret_cast<T*>(allocate_(count * static_cast<std::int64_t>(sizeof(T))));
    T* const part = memory_ ? reinterpret_cast<T*>(memory_ + used_) : nullptr;
    used_ += (count * static_cast<std::int64_t>(sizeof(T)) + kAlignment - 1) / kAlignment * kAlignment;
    return part;
  }
  std::int64_t used() const { return used_; }

 private:
  std::byte* memory_ = nullptr;
  Allocate allocate_;
  std::int64_t used_ = 0;
};

// Segments of one length.
struct Evenly {
  std::int64_t n;
  OVE_HOST_DEVICE std::int64_t operator()(std::int64_t segment) const { return segment * n; }
};

struct Binned {
  int bin;
  std::uint32_t weight;
};

// A value among those of a percentile, as a number in the same order, and how often it counts.
struct Weighted {
  std::uint32_t key;
  std::uint32_t weight;
};
OVE_HOST_DEVICE inline Weighted weighted(float value, std::uint32_t weight = 1) {
  return {saliency::ordered_bits(value), weight};
}

// One of the values that a percentile lies between, as far as it is known.
struct Query {
  std::uint64_t rank;
  std::uint32_t prefix;
  std::uint32_t unused = 0;  // no byte of it is left open
};
constexpr int kSelectBits = 11, kSelectBins = 1 << kSelectBits;
constexpr int kGroupBins = 64, kGroups = kSelectBins / kGroupBins;
constexpr int kMostDigits = 3;  // of a key of 32 bits

struct SelectWork {
  Query* queries = nullptr;         // two a segment
  std::uint64_t* counts = nullptr;  // kSelectBins a query and digit
  std::uint64_t* groups = nullptr;  // kGroups a query: sums of kGroupBins of them

  SelectWork() = default;
  SelectWork(std::int64_t segments, Arena& arena)
      : queries(arena.take<Query>(2 * segments)),
        counts(arena.take<std::uint64_t>(2 * segments * kSelectBins * kMostDigits)),
        groups(arena.take<std::uint64_t>(2 * segments * kGroups)) {}
};

// As many values in every segment.
struct Always {
  std::uint64_t total;
  OVE_HOST_DEVICE std::uint64_t operator()(std::int64_t) const { return total; }
};

OVE_HOST_DEVICE inline saliency::Rank rank_among(std::uint64_t total, double q) {
  return total == 0 ? saliency::Rank() : saliency::rank_of(total, q);
}

// Calls store(s, percentile) for each segment, with the percentile of the values whose keys, below 2^bits, value(s, i)
// gives for i below n, and whose weights add up to total(s); 0 where that is 0. Exact, by counting digits of the keys,
// highest first. value_of(key) is the value. Each digit looks at the values once, for both of the ranks that the
// percentile lies between.
template <class Executor, class Total, class Value, class ValueOf, class Store>
void find_percentiles(Executor& executor, const SelectWork& work, std::int64_t segments, std::int64_t n, Total total,
                      double q, int bits, Value value, ValueOf value_of, Store store) {
  Query* const queries = work.queries;
  std::uint64_t *counts = work.counts, *const groups = work.groups;
  const int digits = (bits + kSelectBits - 1) / kSelectBits;
  const std::int64_t bins_of_digit = 2 * segments * kSelectBins;
  executor.zero(counts, digits * bins_of_digit * static_cast<std::int64_t>(sizeof(*counts)));
  for (int above = bits; above > 0; counts += bins_of_digit) {  // bits that are not known yet
    const int width = above < kSelectBits ? above : kSelectBits, shift = above - width;
    const bool first = above == bits;
    executor.count(segments, n, 2 * kSelectBins, counts, [=] OVE_HOST_DEVICE(std::int64_t s, std::int64_t i) {
      const Weighted v = value(s, i);
      if (v.weight == 0) return Binned{-1, 0};
      const auto digit = static_cast<int>(v.key >> shift & ((1u << width) - 1));
      // Of both queries, where they have one prefix.
      if (first || v.key >> above == queries[2 * s].prefix) return Binned{digit, v.weight};
      if (v.key >> above == queries[2 * s + 1].prefix) return Binned{kSelectBins + digit, v.weight};
      return Binned{-1, 0};
    });
    executor.for_each(2 * segments * kGroups, [=] OVE_HOST_DEVICE(std::int64_t i) {
      std::uint64_t sum = 0;
      for (std::int64_t bin = i * kGroupBins; bin < (i + 1) * kGroupBins; ++bin) sum += counts[bin];
      groups[i] = sum;
    });
    executor.for_each(segments, [=] OVE_HOST_DEVICE(std::int64_t s) {
      const saliency::Rank rank = rank_among(total(s), q);
      const bool together = first || queries[2 * s].prefix == queries[2 * s + 1].prefix;
      for (std::int64_t i = 2 * s; i < 2 * s + 2; ++i) {
        Query query = first ? Query{i % 2 == 0 ? rank.low : rank.high, 0} : queries[i];
        const std::int64_t counted = together ? 2 * s : i;
        const std::uint64_t *const group = groups + counted * kGroups, *const bins = counts + counted * kSelectBins;
        int g = 0;
        while (g + 1 < kGroups && group[g] <= query.rank) query.rank -= group[g++];
        int digit = g * kGroupBins;
        const int last = digit + kGroupBins - 1;
        while (digit < last && bins[digit] <= query.rank) query.rank -= bins[digit++];
        queries[i] = {query.rank, query.prefix << width | static_cast<std::uint32_t>(digit)};
      }
      if (shift > 0) return;
      const double low = value_of(queries[2 * s].prefix), high = value_of(queries[2 * s + 1].prefix);
      store(s, total(s) == 0 ? 0.0 : saliency::between_ranks(rank, low, high));
    });
    above = shift;
  }
}

// The same of floats, whose keys are their ordered bits.
template <class Executor, class Total, class Value, class Store>
void find_percentiles(Executor& executor, const SelectWork& work, std::int64_t segments, std::int64_t n, Total total,
                      double q, Value value, Store store) {
  find_percentiles(
      executor, work, segments, n, total, q, 32, value,
      [] OVE_HOST_DEVICE(std::uint32_t key) { return static_cast<double>(saliency::from_ordered_bits(key)); }, store);
}

}  // namespace ove::cuda
