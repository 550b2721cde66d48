// Runs of work in blocks of memory, and exact percentiles, on whatever runs them. `Executor` does so on a GPU
// (executor.cuh) or in plain loops (the tests' twin):
//   for_each(n, f)                       f(i) for every i below n, in any order
//   count(segments, n, bins, counts, f)  counts[s * bins + f(s, i).bin] += f(s, i).weight for i below n; bin < 0: none
//   zero(pointer, bytes)
//   sort(keys, sorted, segments, n)      n unsigned numbers a segment
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/host_device.h"
#include "saliency/formulas.h"

namespace ove::cuda {

// Hands out parts of a block of memory, or only counts, from a null pointer on.
class Arena {
 public:
  explicit Arena(std::byte* memory) : memory_(memory) {}

  template <class T>
  T* take(std::int64_t count) {
    constexpr std::int64_t kAlignment = 256;
    T* const part = memory_ ? reinterpret_cast<T*>(memory_ + used_) : nullptr;
    used_ += (count * static_cast<std::int64_t>(sizeof(T)) + kAlignment - 1) / kAlignment * kAlignment;
    return part;
  }
  std::int64_t used() const { return used_; }

 private:
  std::byte* memory_;
  std::int64_t used_ = 0;
};

struct Binned {
  int bin;
  std::uint32_t weight;
};
struct Weighted {
  float value;
  std::uint32_t weight;
};

// One of the values that a percentile lies between, as far as it is known.
struct Query {
  std::uint64_t rank;
  std::uint32_t prefix;
};
constexpr int kSelectBits = 11, kSelectBins = 1 << kSelectBits;

struct SelectWork {
  Query* queries = nullptr;
  std::uint64_t* counts = nullptr;  // kSelectBins a query
  double* percentiles = nullptr;    // one for two queries

  SelectWork() = default;
  SelectWork(std::int64_t segments, Arena& arena)
      : queries(arena.take<Query>(2 * segments)),
        counts(arena.take<std::uint64_t>(2 * segments * kSelectBins)),
        percentiles(arena.take<double>(segments)) {}
};

// out[s], for each segment, is the percentile of value(s, i) for i below n, whose weights add up to `total`: exact, by
// counting digits of their bits, highest first. Uses two queries a segment.
template <class Executor, class Value>
void find_percentiles(Executor& executor, const SelectWork& work, std::int64_t segments, std::int64_t n,
                      std::uint64_t total, double q, Value value, double* out) {
  using saliency::Rank;
  Query* const queries = work.queries;
  std::uint64_t* const counts = work.counts;
  const Rank rank = saliency::rank_of(total, q);
  executor.for_each(2 * segments, [=] OVE_HOST_DEVICE(std::int64_t s) {
    queries[s] = {s % 2 == 0 ? rank.low : rank.high, 0};
  });
  for (int shift = 32 - kSelectBits; shift >= 0;) {
    const int width = shift == 0 ? 32 - 2 * kSelectBits : kSelectBits;
    const bool first = shift == 32 - kSelectBits;
    executor.zero(counts, 2 * segments * kSelectBins * static_cast<std::int64_t>(sizeof(*counts)));
    executor.count(2 * segments, n, kSelectBins, counts, [=] OVE_HOST_DEVICE(std::int64_t s, std::int64_t i) {
      const Weighted v = value(s / 2, i);
      const std::uint32_t key = saliency::ordered_bits(v.value);
      if (v.weight == 0 || (!first && key >> (shift + width) != queries[s].prefix)) return Binned{-1, 0};
      return Binned{static_cast<int>(key >> shift & ((1u << width) - 1)), v.weight};
    });
    executor.for_each(2 * segments, [=] OVE_HOST_DEVICE(std::int64_t s) {
      Query query = queries[s];
      const std::uint64_t* const bins = counts + s * kSelectBins;
      std::uint32_t digit = 0;
      while (digit + 1 < 1u << width && bins[digit] <= query.rank) query.rank -= bins[digit++];
      queries[s] = {query.rank, query.prefix << width | digit};
    });
    shift = first ? 32 - 2 * kSelectBits : shift == 0 ? -1 : 0;
  }
  executor.for_each(segments, [=] OVE_HOST_DEVICE(std::int64_t s) {
    const double low = static_cast<double>(saliency::from_ordered_bits(queries[2 * s].prefix));
    const double high = static_cast<double>(saliency::from_ordered_bits(queries[2 * s + 1].prefix));
    out[s] = total == 0 ? 0.0 : saliency::between_ranks(rank, low, high);
  });
}

}  // namespace ove::cuda
