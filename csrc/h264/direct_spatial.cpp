// 8.4.1.2.2: spatial direct prediction
#include "h264/motion.h"

namespace ove::h264 {

// colZeroFlag. Vertical vectors count in the lines of the collocated macroblock, be it field or frame.
inline bool MotionDerivation::is_still(const BlockMotion& collocated) {
  const std::size_t list = collocated.ref_idx[0] >= 0 ? 0 : 1;
  const auto small = [](std::int16_t v) { return static_cast<unsigned>(v + 1) <= 2; };
  return (collocated.ref_idx[list] == 0) & small(collocated.mv[list].x) & small(collocated.mv[list].y);
}

// `motion` is the prediction of the whole macroblock; it does not move where the collocated block does not
// (colZeroFlag).
void MotionDerivation::spatial_direct(unsigned quadrants, BlockMotion motion) {
  if (!motion.is_inter()) motion.ref_idx = {0, 0};  // its vectors are 0
  BlockMotion still = motion;
  for (std::size_t list = 0; list < 2; ++list) {
    if (motion.ref_idx[list] >= 0) reference(list, motion.ref_idx[list]);
    if (motion.ref_idx[list] == 0) still.mv[list] = {};
  }
  if (still == motion || reference(1, 0).is_long_term) {
    fill_quadrants(quadrants, motion);
    return;
  }
  const auto is_still_at = [&](int x4, int y4) {
    if (same_place_) {
      const auto at = static_cast<std::size_t>(base_ + y4 * stride_ + x4);
      return is_still({same_place_->mv[at], same_place_->ref_idx[at]});
    }
    const CollocatedBlock block = collocated_block(x4, y4);
    return block.picture && is_still(block.picture->motion_at(block.x4, block.y4));
  };
  unsigned still_quadrants = 0;
  for (unsigned q = 0; q < 4; ++q) {
    if (!(quadrants >> q & 1)) continue;
    const int qx = static_cast<int>(q & 1), qy = static_cast<int>(q >> 1);
    if (direct_8x8_inference_) {
      still_quadrants |= unsigned{is_still_at(3 * qx, 3 * qy)} << q;
      continue;
    }
    for (int i = 0; i < 4; ++i) {
      const int x4 = 2 * qx + (i & 1), y4 = 2 * qy + (i >> 1);
      fill({x4, y4, 1, 1}, is_still_at(x4, y4) ? still : motion);
    }
  }
  if (!direct_8x8_inference_) return;
  fill_quadrants(quadrants & still_quadrants, still);
  fill_quadrants(quadrants & ~still_quadrants, motion);
}

}  // namespace ove::h264
