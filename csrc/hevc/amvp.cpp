// 8.5.3.2.6, 8.5.3.2.7: prediction of motion vectors from spatial and temporal neighbours
#include "hevc/motion.h"

namespace ove::hevc {

// The neighbour's vector in either list, `list` first, that points to the very picture wanted.
bool MotionDerivation::same_reference(const BlockMotion& n, int list, const RefEntry& target, Mv& out) const {
  for (const int l : {list, 1 - list}) {
    const auto at = static_cast<std::size_t>(l);
    if (n.ref_idx[at] >= 0 && reference(l, n.ref_idx[at]).poc == target.poc) {
      out = n.mv[at];
      return true;
    }
  }
  return false;
}

// The neighbour's vector in either list, scaled by POC distance; long-term pictures go only with long-term ones,
// unscaled.
bool MotionDerivation::scaled_reference(const BlockMotion& n, int list, const RefEntry& target, Mv& out) const {
  for (const int l : {list, 1 - list}) {
    const auto at = static_cast<std::size_t>(l);
    if (n.ref_idx[at] < 0) continue;
    const RefEntry& ref = reference(l, n.ref_idx[at]);
    if (ref.is_long_term != target.is_long_term) continue;
    const int td = picture_.poc - ref.poc, tb = picture_.poc - target.poc;
    out = ref.is_long_term || td == 0 ? n.mv[at] : scale_mv(n.mv[at], td, tb);
    return true;
  }
  return false;
}

Mv MotionDerivation::predict_vector(const PredictionUnit& pu, int list) const {
  const Block block{pu.x, pu.y, pu.width, pu.height};
  const int ref_idx = pu.ref_idx[static_cast<std::size_t>(list)];
  const RefEntry& target = reference(list, ref_idx);
  const int wanted = pu.mvp_flag[static_cast<std::size_t>(list)];
  const int right = block.x + block.width, bottom = block.y + block.height;

  BlockMotion a0, a1;
  const bool has_a0 = neighbour(block, block.x - 1, bottom, a0);
  const bool has_a1 = neighbour(block, block.x - 1, bottom - 1, a1);
  const bool is_scaled = has_a0 || has_a1;  // isScaledFlagLX
  Mv a, b;
  bool found_a = (has_a0 && same_reference(a0, list, target, a)) || (has_a1 && same_reference(a1, list, target, a)) ||
                 (has_a0 && scaled_reference(a0, list, target, a)) || (has_a1 && scaled_reference(a1, list, target, a));
  if (found_a && wanted == 0) return a;

  std::array<BlockMotion, 3> bs;
  const std::array<bool, 3> has_b = {neighbour(block, right, block.y - 1, bs[0]),
                                     neighbour(block, right - 1, block.y - 1, bs[1]),
                                     neighbour(block, block.x - 1, block.y - 1, bs[2])};
  bool found_b = false;
  for (std::size_t k = 0; k < 3 && !found_b; ++k) found_b = has_b[k] && same_reference(bs[k], list, target, b);
  if (!is_scaled) {
    if (found_b) {
      a = b;
      found_a = true;
    }
    found_b = false;
    for (std::size_t k = 0; k < 3 && !found_b; ++k) found_b = has_b[k] && scaled_reference(bs[k], list, target, b);
  }

  std::array<Mv, 3> candidates{};  // zero vectors fill the list
  std::size_t count = 0;
  if (found_a) candidates[count++] = a;
  if (found_b && !(found_a && a == b)) candidates[count++] = b;
  if (count < 2 && static_cast<std::size_t>(wanted) >= count && slice_.collocated) {
    Mv temporal;
    if (temporal_vector(block, list, ref_idx, temporal)) candidates[count++] = temporal;
  }
  return candidates[static_cast<std::size_t>(wanted)];
}

}  // namespace ove::hevc
