#include "hevc/motion.h"

#include <algorithm>
#include <cstdlib>

namespace ove::hevc {

Mv scale_mv(Mv mv, int td, int tb) {
  td = std::clamp(td, -128, 127);
  tb = std::clamp(tb, -128, 127);
  const int tx = (16384 + std::abs(td) / 2) / td;
  const int factor = std::clamp((tb * tx + 32) >> 6, -4096, 4095);
  const auto scale = [&](int v) {
    const int product = factor * v;
    const int magnitude = (std::abs(product) + 127) >> 8;
    return static_cast<std::int16_t>(std::clamp(product < 0 ? -magnitude : magnitude, -32768, 32767));
  };
  return {scale(mv.x), scale(mv.y)};
}

MotionDerivation::MotionDerivation(CodecPicture& picture, const ActiveSets& sets)
    : picture_(picture),
      sps_(*sets.sps),
      tiles_(sets.tiles),
      log2_parallel_merge_level_(sets.pps->log2_parallel_merge_level) {}

void MotionDerivation::derive(const SliceMotion& slice, std::span<const PredictionUnit> units) {
  slice_ = slice;
  no_backward_prediction_ = true;
  for (const auto& list : slice.slice->ref_list) {
    for (const RefEntry& ref : list) no_backward_prediction_ &= ref.poc <= picture_.poc;
  }
  PictureBuffers& out = *picture_.buffers;
  const int stride = picture_.width4();
  for (const PredictionUnit& pu : units) {
    BlockMotion motion;
    if (pu.merge) {
      motion = merge_candidate(pu);
      if (pu.width + pu.height == 12 && motion.ref_idx[0] >= 0 && motion.ref_idx[1] >= 0) {
        motion.ref_idx[1] = -1;
        motion.mv[1] = {};
      }
    } else {
      motion.ref_idx = pu.ref_idx;
      for (int list = 0; list < 2; ++list) {
        const auto l = static_cast<std::size_t>(list);
        if (pu.ref_idx[l] < 0) continue;
        const Mv predictor = predict_vector(pu, list);
        // 8-94 to 8-97: modulo 2^16
        motion.mv[l] = {static_cast<std::int16_t>(predictor.x + pu.mvd[l].x),
                        static_cast<std::int16_t>(predictor.y + pu.mvd[l].y)};
      }
    }
    const std::ptrdiff_t at = std::ptrdiff_t{pu.y >> 2} * stride + (pu.x >> 2);
    fill_block(out.mv.data() + at, stride, pu.width >> 2, pu.height >> 2, motion.mv);
    fill_block(out.ref_idx.data() + at, stride, pu.width >> 2, pu.height >> 2, motion.ref_idx);
  }
}

bool MotionDerivation::neighbour(const Block& block, int xn, int yn, BlockMotion& out) const {
  if (xn < 0 || yn < 0 || xn >= sps_.width || yn >= sps_.height) return false;
  const int width = sps_.width_in_ctbs();
  const int row = yn >> sps_.log2_ctb, current_row = block.y >> sps_.log2_ctb;
  const int ctb = row * width + (xn >> sps_.log2_ctb);
  const int current = current_row * width + (block.x >> sps_.log2_ctb);
  if (ctb != current) {
    // Of the CTBs around the current one, those of a lower row come later in their tile.
    if (row > current_row) return false;
    const auto a = static_cast<std::size_t>(ctb), b = static_cast<std::size_t>(current);
    if (picture_.buffers->slice_idx[a] != picture_.buffers->slice_idx[b] || tiles_.tile_id[a] != tiles_.tile_id[b])
      return false;
  }
  out = picture_.motion_at(xn >> 2, yn >> 2);
  return out.is_inter();
}

}  // namespace ove::hevc
