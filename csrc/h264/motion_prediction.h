// 8.4.1.1, 8.4.1.3: motion vector prediction from neighbouring partitions. In a header of its own, for motion.cpp
// alone, so that it is compiled for the shape of each partition.
#pragma once

#include <algorithm>

#include "h264/motion.h"

namespace ove::h264 {

// Order of decoding of the 4x4 blocks of a macroblock (6.4.3).
constexpr int scan_order(int x4, int y4) { return (x4 & 1) | (y4 & 1) << 1 | (x4 & 2) << 1 | (y4 & 2) << 2; }

constexpr std::int16_t middle(std::int16_t a, std::int16_t b, std::int16_t c) {
  return std::max(std::min(a, b), std::min(std::max(a, b), c));
}

// The block that has column x4 and row y of samples, which count from the current macroblock
template <bool kMbaff>
inline MotionDerivation::Cell MotionDerivation::cell(int x4, int y) const {
  Cell cell;
  if (x4 >= 0 && y >= 0) {
    cell.index = base_ + (y >> 2) * stride_ + x4;
  } else if constexpr (kMbaff) {
    cell = mbaff_outer_cell(x4, y);
  } else {
    const bool available = y >= 0 ? available_.a : x4 < 0 ? available_.d : x4 < 4 ? available_.b : available_.c;
    if (available) cell.index = base_ + (y >> 2) * stride_ + x4;
  }
  return cell;
}

// The neighbour C of a partition, or D where C is not available.
template <bool kMbaff>
inline MotionDerivation::Cell MotionDerivation::above_right(const Part& part) const {
  const int x4 = part.x4 + part.width4, y = part.y4 * 4 - 1;
  const bool decoded = part.y4 == 0 || (x4 < 4 && scan_order(x4, part.y4 - 1) < scan_order(part.x4, part.y4));
  if (decoded) {
    const Cell c = cell<kMbaff>(x4, y);
    if (c.index >= 0) return c;
  }
  return cell<kMbaff>(part.x4 - 1, y);
}

// 8.4.1.3.2
template <bool kMbaff>
inline MotionDerivation::Neighbour MotionDerivation::motion_of(const Cell& cell, int list) const {
  if (cell.index < 0) return {};
  const auto l = static_cast<std::size_t>(list);
  Neighbour out{true, ref_idx_[cell.index][l], mv_[cell.index][l]};  // the vector of an unused list is 0
  if constexpr (kMbaff) {
    if (cell.scale == Scale::kFrameToField) {
      out.mv.y = static_cast<std::int16_t>(out.mv.y / 2);
      if (out.ref_idx >= 0) out.ref_idx *= 2;
    } else if (cell.scale == Scale::kFieldToFrame) {
      out.mv.y = static_cast<std::int16_t>(out.mv.y * 2);
      out.ref_idx >>= 1;
    }
  }
  return out;
}

// 8.4.1.3; 16x8 and 8x16 have directions of their own.
template <bool kMbaff, MbType kShape>
inline Mv MotionDerivation::predict(const Part& part, const Cells& cells, int list, int ref_idx) const {
  constexpr bool kRows = kShape == MbType::k16x8, kColumns = kShape == MbType::k8x16;
  const Neighbour a = motion_of<kMbaff>(cells.a, list);
  if (kRows && part.y4 != 0 && a.ref_idx == ref_idx) return a.mv;
  if (kColumns && part.x4 == 0 && a.ref_idx == ref_idx) return a.mv;
  const Neighbour b = motion_of<kMbaff>(cells.b, list);
  if (kRows && part.y4 == 0 && b.ref_idx == ref_idx) return b.mv;
  const Neighbour c = motion_of<kMbaff>(cells.c, list);
  if (kColumns && part.x4 != 0 && c.ref_idx == ref_idx) return c.mv;
  return median(a, b, c, ref_idx);
}

// 8.4.1.3.1
inline Mv MotionDerivation::median(const Neighbour& a, const Neighbour& b, const Neighbour& c, int ref_idx) {
  if (!b.available && !c.available && a.available) return a.mv;
  const bool same_a = a.ref_idx == ref_idx, same_b = b.ref_idx == ref_idx, same_c = c.ref_idx == ref_idx;
  if (same_a + same_b + same_c == 1) return same_a ? a.mv : same_b ? b.mv : c.mv;
  return {middle(a.mv.x, b.mv.x, c.mv.x), middle(a.mv.y, b.mv.y, c.mv.y)};
}

// 8.4.1.1
template <bool kMbaff>
inline Mv MotionDerivation::p_skip_vector() const {
  const auto stays = [](const Neighbour& n) { return !n.available || (n.ref_idx == 0 && n.mv == Mv()); };
  const Cells cells = neighbours<kMbaff>(kWhole);
  const Neighbour a = motion_of<kMbaff>(cells.a, 0);
  if (stays(a)) return {};
  const Neighbour b = motion_of<kMbaff>(cells.b, 0);
  if (stays(b)) return {};
  return median(a, b, motion_of<kMbaff>(cells.c, 0), 0);
}

// 8.4.1.2.2 but for colZeroFlag: indices negative in a list that all neighbours leave unused.
template <bool kMbaff>
inline BlockMotion MotionDerivation::spatial_prediction() const {
  const Cells cells = neighbours<kMbaff>(kWhole);
  BlockMotion out;
  for (int list = 0; list < 2; ++list) {
    const Neighbour a = motion_of<kMbaff>(cells.a, list), b = motion_of<kMbaff>(cells.b, list);
    const Neighbour c = motion_of<kMbaff>(cells.c, list);
    // MinPositive: as unsigned numbers negative ones are the largest.
    const unsigned least = std::min(
        {static_cast<unsigned>(a.ref_idx), static_cast<unsigned>(b.ref_idx), static_cast<unsigned>(c.ref_idx)});
    const int ref_idx = static_cast<int>(least);
    if (ref_idx < 0) continue;
    out.ref_idx[static_cast<std::size_t>(list)] = static_cast<std::int8_t>(ref_idx);
    out.mv[static_cast<std::size_t>(list)] = median(a, b, c, ref_idx);
  }
  return out;
}

}  // namespace ove::h264
