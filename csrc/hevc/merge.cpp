// 8.5.3.2.2 to 8.5.3.2.5: merge mode
#include <algorithm>

#include "hevc/motion.h"

namespace ove::hevc {

// A spatial neighbour, unless it lies in the same merge estimation region.
bool MotionDerivation::merge_neighbour(const Block& block, int xn, int yn, BlockMotion& out) const {
  const int level = log2_parallel_merge_level_;
  if (block.x >> level == xn >> level && block.y >> level == yn >> level) return false;
  return neighbour(block, xn, yn, out);
}

BlockMotion MotionDerivation::merge_candidate(const PredictionUnit& pu) const {
  Block block{pu.x, pu.y, pu.width, pu.height};
  int part_idx = pu.part_idx;
  if (log2_parallel_merge_level_ > 2 && pu.log2_cb == 3) {  // singleMCLFlag: all parts share the block's candidates
    block = {pu.cb_x(), pu.cb_y(), 8, 8};
    part_idx = 0;
  }
  const bool second = part_idx == 1;
  const bool second_column = second && (pu.part_mode == PartMode::kNx2N || pu.part_mode == PartMode::knLx2N ||
                                        pu.part_mode == PartMode::knRx2N);
  const bool second_row = second && (pu.part_mode == PartMode::k2NxN || pu.part_mode == PartMode::k2NxnU ||
                                     pu.part_mode == PartMode::k2NxnD);
  // Later candidates never change earlier ones: the list is built only up to the one wanted.
  std::array<BlockMotion, 5> list;
  int count = 0;
  const auto done = [&] { return count > pu.merge_idx; };

  BlockMotion a1, b1, b0, a0, b2;
  const int right = block.x + block.width, bottom = block.y + block.height;
  const bool has_a1 = !second_column && merge_neighbour(block, block.x - 1, bottom - 1, a1);
  if (has_a1) list[static_cast<std::size_t>(count++)] = a1;
  if (done()) return list[pu.merge_idx];
  const bool has_b1 = !second_row && merge_neighbour(block, right - 1, block.y - 1, b1);
  if (has_b1 && !(has_a1 && b1 == a1)) list[static_cast<std::size_t>(count++)] = b1;
  if (done()) return list[pu.merge_idx];
  if (merge_neighbour(block, right, block.y - 1, b0) && !(has_b1 && b0 == b1))
    list[static_cast<std::size_t>(count++)] = b0;
  if (done()) return list[pu.merge_idx];
  if (merge_neighbour(block, block.x - 1, bottom, a0) && !(has_a1 && a0 == a1))
    list[static_cast<std::size_t>(count++)] = a0;
  if (done()) return list[pu.merge_idx];
  if (count < 4 && merge_neighbour(block, block.x - 1, block.y - 1, b2) && !(has_a1 && b2 == a1) &&
      !(has_b1 && b2 == b1)) {
    list[static_cast<std::size_t>(count++)] = b2;
  }
  if (done()) return list[pu.merge_idx];

  const bool b_slice = slice_.slice->type == SliceType::kB;
  if (slice_.collocated) {
    BlockMotion temporal;
    for (int l = 0; l < (b_slice ? 2 : 1); ++l) {
      const auto at = static_cast<std::size_t>(l);
      if (temporal_vector(block, l, 0, temporal.mv[at])) temporal.ref_idx[at] = 0;
    }
    if (temporal.is_inter()) list[static_cast<std::size_t>(count++)] = temporal;
    if (done()) return list[pu.merge_idx];
  }
  if (b_slice && count > 1 && combined_bi_candidate(list, count, pu.merge_idx)) return list[pu.merge_idx];
  const auto reached = std::count_if(list.begin() + count, list.end(), [](const BlockMotion& m) { return m.is_inter(); });
  return zero_candidate(pu.merge_idx - count - static_cast<int>(reached));
}

// 8.5.3.2.4. Appends candidates to the `count` of the list; returns whether the one at `index` is among them.
bool MotionDerivation::combined_bi_candidate(std::array<BlockMotion, 5>& list, int count, int index) const {
  static constexpr std::array<std::array<std::uint8_t, 2>, 12> kPairs = {
      {{0, 1}, {1, 0}, {0, 2}, {2, 0}, {1, 2}, {2, 1}, {0, 3}, {3, 0}, {1, 3}, {3, 1}, {2, 3}, {3, 2}}};
  int size = count;
  for (int i = 0; i < count * (count - 1) && size < slice_.max_num_merge_cand; ++i) {
    const BlockMotion& l0 = list[kPairs[static_cast<std::size_t>(i)][0]];
    const BlockMotion& l1 = list[kPairs[static_cast<std::size_t>(i)][1]];
    if (l0.ref_idx[0] < 0 || l1.ref_idx[1] < 0) continue;
    if (reference(0, l0.ref_idx[0]).poc == reference(1, l1.ref_idx[1]).poc && l0.mv[0] == l1.mv[1]) continue;
    list[static_cast<std::size_t>(size)] = {{l0.mv[0], l1.mv[1]}, {l0.ref_idx[0], l1.ref_idx[1]}};
    if (size++ == index) return true;
  }
  return false;
}

// 8.5.3.2.5
BlockMotion MotionDerivation::zero_candidate(int zero_idx) const {
  const auto& lists = slice_.slice->ref_list;
  const bool b_slice = slice_.slice->type == SliceType::kB;
  const auto count = static_cast<int>(b_slice ? std::min(lists[0].size(), lists[1].size()) : lists[0].size());
  const auto idx = static_cast<std::int8_t>(zero_idx < count ? zero_idx : 0);
  return {{}, {idx, b_slice ? idx : std::int8_t{-1}}};
}

}  // namespace ove::hevc
