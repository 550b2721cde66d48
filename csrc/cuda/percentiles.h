// Runs of work in blocks of memory, and exact percentiles, on whatever runs them. `Executor` does so on a GPU
// (executor.cuh) or in plain loops (the tests' twin):
//   for_each(n, f)                       f(i) for every i below n, in any order
//   count(extent, bins, counts, f)       counts[s * bins + b.bin] += b.weight for all b = f(s, part, i); bin < 0: none
//   count_bytes(segments, n, bins, counts, values)
//                                        counts[s * bins + values[s * n + i]] += 1 for i below n
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

// Values of segments, each of so many parts (pictures mostly) of `n` values, below 2^32.
struct Extent {
  std::int64_t segments, parts, n;
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

// How far the digits of keys are known, highest first.
struct Digit {
  int above, width;  // bits of the key before it is known, and its own
  bool first;

  OVE_HOST_DEVICE int shift() const { return above - width; }
};

// Goes on with one digit of the keys, which is counted: kSelectBins counts of each query.
template <class Executor, class Total, class ValueOf, class Store>
void narrow_percentiles(Executor& executor, const SelectWork& work, const std::uint64_t* counts, std::int64_t segments,
                        Total total, double q, const Digit& digit, ValueOf value_of, Store store) {
  Query* const queries = work.queries;
  std::uint64_t* const groups = work.groups;
  executor.for_each(2 * segments * kGroups, [=] OVE_HOST_DEVICE(std::int64_t i) {
    std::uint64_t sum = 0;
    for (std::int64_t bin = i * kGroupBins; bin < (i + 1) * kGroupBins; ++bin) sum += counts[bin];
    groups[i] = sum;
  });
  executor.for_each(segments, [=] OVE_HOST_DEVICE(std::int64_t s) {
    const saliency::Rank rank = rank_among(total(s), q);
    const bool together = digit.first || queries[2 * s].prefix == queries[2 * s + 1].prefix;
    for (std::int64_t i = 2 * s; i < 2 * s + 2; ++i) {
      Query query = digit.first ? Query{i % 2 == 0 ? rank.low : rank.high, 0} : queries[i];
      const std::int64_t counted = together ? 2 * s : i;
      const std::uint64_t *const group = groups + counted * kGroups, *const bins = counts + counted * kSelectBins;
      int g = 0;
      while (g + 1 < kGroups && group[g] <= query.rank) query.rank -= group[g++];
      int bin = g * kGroupBins;
      const int last = bin + kGroupBins - 1;
      while (bin < last && bins[bin] <= query.rank) query.rank -= bins[bin++];
      queries[i] = {query.rank, query.prefix << digit.width | static_cast<std::uint32_t>(bin)};
    }
    if (digit.shift() > 0) return;
    const double low = value_of(queries[2 * s].prefix), high = value_of(queries[2 * s + 1].prefix);
    store(s, total(s) == 0 ? 0.0 : saliency::between_ranks(rank, low, high));
  });
}

// Calls store(s, percentile) for each segment, with the percentile of the values that value(s, part, i) gives as
// ordered bits, and whose weights add up to total(s); 0 where that is 0. Exact, by counting digits of the keys, highest
// first. Each digit looks at the values once, for both of the ranks that the percentile lies between.
template <class Executor, class Total, class Value, class Store>
void find_percentiles(Executor& executor, const SelectWork& work, const Extent& extent, Total total, double q,
                      Value value, Store store) {
  constexpr int kBits = 32;
  const Query* const queries = work.queries;
  std::uint64_t* counts = work.counts;
  const std::int64_t bins_of_digit = 2 * extent.segments * kSelectBins;
  executor.zero(counts, kMostDigits * bins_of_digit * static_cast<std::int64_t>(sizeof(*counts)));
  for (int above = kBits; above > 0; counts += bins_of_digit) {
    const Digit digit{above, above < kSelectBits ? above : kSelectBits, above == kBits};
    executor.count(extent, 2 * kSelectBins, counts,
                   [=] OVE_HOST_DEVICE(std::int64_t s, std::int64_t part, std::uint32_t i) {
                     const Weighted v = value(s, part, i);
                     if (v.weight == 0) return Binned{-1, 0};
                     const auto bin = static_cast<int>(v.key >> digit.shift() & ((1u << digit.width) - 1));
                     // Of both queries, where they have one prefix.
                     if (digit.first || v.key >> digit.above == queries[2 * s].prefix) return Binned{bin, v.weight};
                     if (v.key >> digit.above == queries[2 * s + 1].prefix) return Binned{kSelectBins + bin, v.weight};
                     return Binned{-1, 0};
                   });
    narrow_percentiles(
        executor, work, counts, extent.segments, total, q, digit,
        [] OVE_HOST_DEVICE(std::uint32_t key) { return static_cast<double>(saliency::from_ordered_bits(key)); }, store);
    above = digit.shift();
  }
}

// The same of segments of `n` bytes, one behind the other.
template <class Executor, class Store>
void find_byte_percentiles(Executor& executor, const SelectWork& work, std::int64_t segments, std::int64_t n,
                           const std::uint8_t* values, double q, Store store) {
  std::uint64_t* const counts = work.counts;
  executor.zero(counts, 2 * segments * kSelectBins * static_cast<std::int64_t>(sizeof(*counts)));
  executor.count_bytes(segments, n, 2 * kSelectBins, counts, values);
  narrow_percentiles(
      executor, work, counts, segments, Always{static_cast<std::uint64_t>(n)}, q, Digit{8, 8, true},
      [] OVE_HOST_DEVICE(std::uint32_t level) { return static_cast<double>(level); }, store);
}

}  // namespace ove::cuda
