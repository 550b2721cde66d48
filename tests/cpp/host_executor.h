// Runs the GPU's steps one after the other, on the CPU.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <stdexcept>

#include "cuda/percentiles.h"

namespace ove::cuda {

struct HostExecutor {
  template <class F>
  void for_each(std::int64_t n, F f) {
    for (std::int64_t i = n - 1; i >= 0; --i) f(i);  // an order as good as any
  }
  template <class F>
  void count(std::int64_t segments, std::int64_t n, int bins, std::uint64_t* counts, F f) {
    for (std::int64_t s = 0; s < segments; ++s) {
      for (std::int64_t i = 0; i < n; ++i) {
        const Binned b = f(s, i);
        if (b.bin >= 0) counts[s * bins + b.bin] += b.weight;
      }
    }
  }
  void zero(void* pointer, std::int64_t bytes) {
    if (bytes > 0) std::memset(pointer, 0, static_cast<std::size_t>(bytes));
  }
  template <class Begins>
  void sort(const std::uint64_t* keys, std::uint64_t* sorted, std::int64_t segments, std::int64_t total,
            Begins begins) {
    if (begins(0) != 0 || begins(segments) != total) throw std::logic_error("segments are not all that is sorted");
    std::copy(keys, keys + total, sorted);
    for (std::int64_t s = 0; s < segments; ++s) std::sort(sorted + begins(s), sorted + begins(s + 1));
  }
  void sort(const std::uint64_t* keys, std::uint64_t* sorted, std::int64_t n, int bits) {
    std::copy(keys, keys + n, sorted);
    std::sort(sorted, sorted + n);
    if (n > 0 && bits < 64 && sorted[n - 1] >> bits != 0) throw std::logic_error("a key has more bits than told");
  }
};

}  // namespace ove::cuda
