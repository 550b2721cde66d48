// Runs the GPU's steps one after the other, on the CPU.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

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
  void zero(void* pointer, std::int64_t bytes) { std::memset(pointer, 0, static_cast<std::size_t>(bytes)); }
  void sort(const std::uint64_t* keys, std::uint64_t* sorted, std::int64_t segments, std::int64_t n) {
    std::copy(keys, keys + segments * n, sorted);
    for (std::int64_t s = 0; s < segments; ++s) std::sort(sorted + s * n, sorted + (s + 1) * n);
  }
};

}  // namespace ove::cuda
