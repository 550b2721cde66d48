// What one thread does of moving rows by their numbers: several rows at a time, so that their loads overlap.
#pragma once

#include <cstdint>

#include "common/host_device.h"

namespace ove::cuda {

// Rows that a thread has in hand at a time.
inline constexpr int kRowsInHand = 4;

// Which part of the rows a thread moves: those of the groups of kRowsInHand from `group` on, every groups-th, and of
// these the units from `lane` on, every lanes-th.
struct RowShare {
  std::int64_t group = 0, groups = 1;
  int lane = 0, lanes = 1;
};

// Calls `off` where a number is off the rows of `all`, then move(one, other) for units of all[index[i]] and packed[i]:
// load(one, other) gives what is kept meanwhile, store(one, other, kept) puts it where it belongs.
template <class Unit, class Load, class Store, class Off>
OVE_HOST_DEVICE inline void move_share(Unit* all, std::int64_t all_count, const std::int64_t* index, Unit* packed,
                                       std::int64_t count, std::int64_t units, const RowShare& share, Load load,
                                       Store store, Off off) {
  for (std::int64_t first = share.group * kRowsInHand; first < count; first += share.groups * kRowsInHand) {
    Unit* rows[kRowsInHand];
#pragma unroll
    for (int k = 0; k < kRowsInHand; ++k) {
      const std::int64_t number = first + k < count ? index[first + k] : 0;
      if (first + k < count && (number < 0 || number >= all_count)) off();
      rows[k] = all + number * units;
    }
    Unit* const others = packed + first * units;
    for (std::int64_t u = share.lane; u < units; u += share.lanes) {
      Unit kept[kRowsInHand];
#pragma unroll
      for (int k = 0; k < kRowsInHand; ++k) {
        if (first + k < count) kept[k] = load(rows[k] + u, others + k * units + u);
      }
#pragma unroll
      for (int k = 0; k < kRowsInHand; ++k) {
        if (first + k < count) store(rows[k] + u, others + k * units + u, kept[k]);
      }
    }
  }
}

}  // namespace ove::cuda
