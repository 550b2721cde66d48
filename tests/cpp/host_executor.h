// Runs the GPU's steps one after the other, on the CPU: parts of a step in an order that is another each time, as those
// of a GPU may be.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <numeric>
#include <span>
#include <stdexcept>
#include <vector>

#include "cuda/count_bytes.h"
#include "cuda/percentiles.h"

namespace ove::cuda {

// Memory for arenas, each part of it a block of its own, so that sanitizers see what is read or written behind its end.
// It is filled with `fill`: nothing may rely on zeros.
class HostMemory {
 public:
  explicit HostMemory(std::byte fill) : fill_(fill) {}

  Arena arena() {
    return Arena([this](std::int64_t bytes) { return take(static_cast<std::size_t>(bytes)).data(); });
  }
  std::span<std::byte> take(std::size_t bytes) {
    blocks_.push_back(std::make_unique_for_overwrite<std::byte[]>(bytes));
    std::memset(blocks_.back().get(), static_cast<int>(fill_), bytes);
    return parts_.emplace_back(blocks_.back().get(), bytes);
  }
  const std::vector<std::span<std::byte>>& parts() const { return parts_; }

 private:
  std::byte fill_;
  std::vector<std::unique_ptr<std::byte[]>> blocks_;
  std::vector<std::span<std::byte>> parts_;
};

class HostExecutor {
 public:
  HostExecutor() = default;
  // Runs every step in two orders, and throws std::logic_error where they leave `written`, all that steps write to, in
  // two states: parts of a step would then race on a GPU.
  explicit HostExecutor(std::vector<std::span<std::byte>> written) : written_(std::move(written)) {}

  // What a GPU would have to queue: steps that have parts, counts, clearings and sorts.
  std::int64_t operations() const { return operations_; }

  template <class F>
  void for_each(std::int64_t n, F f) {
    operations_ += n > 0;
    if (written_.empty()) return run(n, f);
    const std::vector<std::byte> before = state();
    for (std::int64_t i = 0; i < n; ++i) f(i);
    const std::vector<std::byte> after = state();
    restore(before);
    run(n, f);
    if (state() != after) throw std::logic_error("the parts of a step depend on their order");
  }
  template <class F>
  void count(const Extent& extent, int bins, std::uint64_t* counts, F f) {
    operations_ += extent.segments > 0 && extent.parts > 0 && extent.n > 0;
    for (std::int64_t s = 0; s < extent.segments; ++s) {
      for (std::int64_t part = extent.parts - 1; part >= 0; --part) {
        for (std::int64_t i = 0; i < extent.n; ++i) {
          const Binned b = f(s, part, static_cast<std::uint32_t>(i));
          if (b.bin >= bins) throw std::logic_error("there are fewer bins");
          if (b.bin >= 0) counts[s * bins + b.bin] += b.weight;
        }
      }
    }
  }
  void count_bytes(std::int64_t segments, std::int64_t n, int bins, std::uint64_t* counts, const std::uint8_t* values) {
    constexpr std::int64_t kThreads = 5;
    operations_ += segments > 0 && n > 0;
    for (std::int64_t s = 0; s < segments; ++s) {
      for (std::int64_t thread = 0; thread < kThreads; ++thread) {
        count_bytes_share(values + s * n, n, thread, kThreads,
                          [&](std::uint32_t value, std::uint32_t times) { counts[s * bins + value] += times; });
      }
    }
  }
  void zero(void* pointer, std::int64_t bytes) {
    operations_ += bytes > 0;
    if (bytes > 0) std::memset(pointer, 0, static_cast<std::size_t>(bytes));
  }
  template <class Begins>
  void sort(const std::uint64_t* keys, std::uint64_t* sorted, std::int64_t segments, std::int64_t total,
            Begins begins) {
    operations_ += total > 0;
    if (begins(0) != 0 || begins(segments) != total) throw std::logic_error("segments are not all that is sorted");
    std::copy(keys, keys + total, sorted);
    for (std::int64_t s = 0; s < segments; ++s) std::sort(sorted + begins(s), sorted + begins(s + 1));
  }
  void sort(const std::uint64_t* keys, std::uint64_t* sorted, std::int64_t n, int bits) {
    operations_ += n > 0;
    std::copy(keys, keys + n, sorted);
    std::sort(sorted, sorted + n);
    if (n > 0 && bits < 64 && sorted[n - 1] >> bits != 0) throw std::logic_error("a key has more bits than told");
  }

 private:
  // In strides that meet every part once, descending where there are few.
  template <class F>
  void run(std::int64_t n, F f) {
    std::int64_t stride = std::max<std::int64_t>(1, n / 2 + n * static_cast<std::int64_t>(runs_++ % 7) / 16);
    while (std::gcd(stride, n) != 1) ++stride;
    std::int64_t at = n - 1;
    for (std::int64_t i = 0; i < n; ++i) {
      f(at);
      at += stride;
      while (at >= n) at -= n;
    }
  }

  std::vector<std::byte> state() const {
    std::vector<std::byte> all;
    for (const auto& part : written_) all.insert(all.end(), part.begin(), part.end());
    return all;
  }
  void restore(const std::vector<std::byte>& all) {
    auto from = all.begin();
    for (const auto& part : written_) {
      std::copy(from, from + std::ssize(part), part.begin());
      from += std::ssize(part);
    }
  }

  std::vector<std::span<std::byte>> written_;
  std::uint64_t runs_ = 0;
  std::int64_t operations_ = 0;
};

}  // namespace ove::cuda
