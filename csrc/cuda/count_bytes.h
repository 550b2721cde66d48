// What one thread does of counting bytes: 16 of them at a time, runs of one value at once.
#pragma once

#include <cstdint>
#include <cstring>

#include "common/host_device.h"

namespace ove::cuda {

inline constexpr int kByteUnit = 16;

// Calls add(value, times) for the units of 16 bytes from `first` on, every stride-th, of the `n` values, and for single
// ones before and behind them: all of them, once, over all `first` below `stride`.
template <class Add>
OVE_HOST_DEVICE inline void count_bytes_share(const std::uint8_t* values, std::int64_t n, std::int64_t first,
                                              std::int64_t stride, Add add) {
  std::uint32_t run = 0, times = 0;
  const auto take = [&](std::uint32_t value, std::uint32_t count) {
    if (value != run) {
      if (times > 0) add(run, times);
      run = value;
      times = 0;
    }
    times += count;
  };
  std::int64_t head = static_cast<std::int64_t>(-reinterpret_cast<std::uintptr_t>(values) % kByteUnit);
  if (head > n) head = n;
  const std::int64_t units = (n - head) / kByteUnit, behind = head + units * kByteUnit;
  struct alignas(kByteUnit) [[gnu::may_alias]] Unit {
    std::uint32_t words[4];
  };
  const auto* const unit_at = reinterpret_cast<const Unit*>(values + head);
#pragma unroll 2
  for (std::int64_t i = first; i < units; i += stride) {
    const Unit unit = unit_at[i];
    if ((unit.words[0] | unit.words[1] | unit.words[2] | unit.words[3]) == 0) {  // as most residuals are
      take(0, kByteUnit);
      continue;
    }
    for (const std::uint32_t word : unit.words) {
      if (word == (word & 0xff) * 0x01010101u) {
        take(word & 0xff, 4);
        continue;
      }
      for (int shift = 0; shift < 32; shift += 8) take(word >> shift & 0xff, 1);
    }
  }
  for (std::int64_t i = first; i < head + (n - behind); i += stride) {
    take(values[i < head ? i : behind + (i - head)], 1);
  }
  if (times > 0) add(run, times);
}

}  // namespace ove::cuda
