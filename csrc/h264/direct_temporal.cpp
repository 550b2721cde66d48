// 8.4.1.2.3: temporal direct prediction
#include <algorithm>
#include <cstdlib>
#include <string>

#include "common/error.h"
#include "h264/motion.h"

namespace ove::h264 {

// 8.4.1.2.3: how much of the way from RefPicList1[0] to each picture of list 0 lies before the current one.
void MotionDerivation::start_temporal() {
  const std::array<int, 3> pocs{picture_.poc, picture_.field_poc[0], picture_.field_poc[1]};
  for (std::size_t kind = 0; kind < 3; ++kind) {
    std::vector<int>& factors = dist_scale_factors_[kind];
    factors.clear();
    const RefLists& lists = *lists_[kind];
    if (lists[1].empty()) continue;
    const std::int64_t poc1 = lists[1][0].poc;
    for (const RefEntry& entry : lists[0]) {
      const auto td = static_cast<int>(std::clamp<std::int64_t>(poc1 - entry.poc, -128, 127));
      const auto tb = static_cast<int>(std::clamp<std::int64_t>(std::int64_t{pocs[kind]} - entry.poc, -128, 127));
      if (entry.is_long_term || td == 0) {
        factors.push_back(kUnscaled);
      } else {
        const int tx = (16384 + std::abs(td / 2)) / td;
        factors.push_back(std::clamp((tb * tx + 32) >> 6, -1024, 1023));
      }
    }
  }
}

void MotionDerivation::temporal_direct(unsigned quadrants) {
  for (unsigned q = 0; q < 4; ++q) {
    if (!(quadrants >> q & 1)) continue;
    const int qx = static_cast<int>(q & 1), qy = static_cast<int>(q >> 1);
    if (direct_8x8_inference_) {
      fill_quadrants(1U << q, temporal_motion(collocated_block(3 * qx, 3 * qy)));
      continue;
    }
    for (int i = 0; i < 4; ++i) {
      const int x4 = 2 * qx + (i & 1), y4 = 2 * qy + (i >> 1);
      fill({x4, y4, 1, 1}, temporal_motion(collocated_block(x4, y4)));
    }
  }
}

BlockMotion MotionDerivation::temporal_motion(const CollocatedBlock& block) const {
  BlockMotion out{.mv = {}, .ref_idx = {0, 0}};
  BlockMotion of_block;
  if (block.picture) of_block = block.picture->motion_at(block.x4, block.y4);
  if (!of_block.is_inter()) {
    reference(0, 0);
    return out;
  }
  const std::size_t list = of_block.ref_idx[0] >= 0 ? 0 : 1;
  const int ref_idx = map_to_list0(block, list, of_block.ref_idx[list]);
  reference(0, ref_idx);
  out.ref_idx[0] = static_cast<std::int8_t>(ref_idx);
  Mv mv = of_block.mv[list];  // mvCol
  if (block.scale == Scale::kFrameToField) mv.y = static_cast<std::int16_t>(mv.y / 2);
  if (block.scale == Scale::kFieldToFrame) mv.y = static_cast<std::int16_t>(mv.y * 2);
  const int factor = dist_scale_factors_[kind_][static_cast<std::size_t>(ref_idx)];
  if (factor == kUnscaled) {
    out.mv[0] = mv;
    return out;
  }
  const auto scale = [&](int v) { return static_cast<std::int16_t>((factor * v + 128) >> 8); };
  out.mv[0] = {scale(mv.x), scale(mv.y)};
  out.mv[1] = {static_cast<std::int16_t>(out.mv[0].x - mv.x), static_cast<std::int16_t>(out.mv[0].y - mv.y)};
  return out;
}

// refIdxL0: the lowest index of list 0 that refers to the picture, or to the field or frame of it, that the collocated
// block refers to.
int MotionDerivation::map_to_list0(const CollocatedBlock& block, std::size_t list, int ref_idx) const {
  const Slice& slice = block.picture->slice_at(block.x4, block.y4);
  const int field = block.picture->structure == Structure::kMbaff ? block.picture->field_at(block.x4, block.y4) : 0;
  const RefLists& lists = field == 0 ? slice.ref_list : slice.field_ref_list[static_cast<std::size_t>(field - 1)];
  const RefEntry& wanted = lists[list][static_cast<std::size_t>(ref_idx)];
  const bool in_field = field_picture_ || field_;
  // A frame is seen from a field by its field of the same parity.
  const Structure structure = block.scale != Scale::kFrameToField ? wanted.structure
                              : field_picture_                    ? picture_.structure
                                                                  : field_of(bottom_);
  const auto& candidates = this->lists()[0];
  const auto found = std::find_if(candidates.begin(), candidates.end(), [&](const RefEntry& entry) {
    return entry.decode_index == wanted.decode_index && (!in_field || entry.structure == structure);
  });
  if (found == candidates.end()) {
    if (may_miss_references_) return 0;
    throw InvalidBitstreamError("temporal direct prediction in the picture with POC " + std::to_string(picture_.poc) +
                                " needs the picture with POC " + std::to_string(wanted.poc) +
                                ", which is not in reference list 0");
  }
  return static_cast<int>(found - candidates.begin());
}

}  // namespace ove::h264
