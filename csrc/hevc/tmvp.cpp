// 8.5.3.2.8, 8.5.3.2.9: temporal motion vector prediction
#include "hevc/motion.h"

namespace ove::hevc {

bool MotionDerivation::temporal_vector(const Block& block, int list, int ref_idx, Mv& out) const {
  const RefEntry& target = reference(list, ref_idx);
  const int right = block.x + block.width, bottom = block.y + block.height;
  // The bottom right candidate stays within the CTB row, so that few collocated vectors need be at hand.
  if (block.y >> sps_.log2_ctb == bottom >> sps_.log2_ctb && bottom < sps_.height && right < sps_.width &&
      collocated_vector(right, bottom, list, target, out)) {
    return true;
  }
  return collocated_vector(block.x + block.width / 2, block.y + block.height / 2, list, target, out);
}

bool MotionDerivation::collocated_vector(int x, int y, int list, const RefEntry& target, Mv& out) const {
  const CodecPicture& collocated = *slice_.collocated;
  const int x4 = x >> 4 << 2, y4 = y >> 4 << 2;  // motion is kept by 16x16 block
  const BlockMotion motion = collocated.motion_at(x4, y4);
  if (!motion.is_inter()) return false;
  int from;
  if (motion.ref_idx[0] < 0) {
    from = 1;
  } else if (motion.ref_idx[1] < 0) {
    from = 0;
  } else {
    from = no_backward_prediction_ ? list : slice_.collocated_from_l0 ? 1 : 0;
  }
  const auto f = static_cast<std::size_t>(from);
  const RefEntry& ref = collocated.slice_at(x4, y4).ref_list[f][static_cast<std::size_t>(motion.ref_idx[f])];
  if (ref.is_long_term != target.is_long_term) return false;
  const int td = collocated.poc - ref.poc, tb = picture_.poc - target.poc;
  out = target.is_long_term || td == tb || td == 0 ? motion.mv[f] : scale_mv(motion.mv[f], td, tb);
  return true;
}

}  // namespace ove::hevc
