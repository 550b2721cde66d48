// Derivation of motion vectors and reference indices (8.5.3.2), in decoding order, after parsing.
#pragma once

#include <span>

#include "hevc/picture.h"
#include "hevc/prediction_unit.h"

namespace ove::hevc {

// What the derivation needs of a slice beside its blocks.
struct SliceMotion {
  const Slice* slice = nullptr;
  int max_num_merge_cand = 5;
  const CodecPicture* collocated = nullptr;  // null: no temporal prediction
  bool collocated_from_l0 = true;
};

class MotionDerivation {
 public:
  MotionDerivation(CodecPicture& picture, const ActiveSets& sets);

  // Writes the motion of the blocks of one slice into the picture. Blocks that come later in decoding order must still
  // be without motion: that is how neighbours not yet decoded are told from those that are.
  void derive(const SliceMotion& slice, std::span<const PredictionUnit> units);

 private:
  struct Block {
    int x, y, width, height;
  };

  // merge.cpp
  BlockMotion merge_candidate(const PredictionUnit& pu) const;
  bool merge_neighbour(const Block& block, int xn, int yn, BlockMotion& out) const;
  bool combined_bi_candidate(std::array<BlockMotion, 5>& list, int count, int index) const;
  BlockMotion zero_candidate(int zero_idx) const;

  // amvp.cpp
  Mv predict_vector(const PredictionUnit& pu, int list) const;
  bool same_reference(const BlockMotion& neighbour, int list, const RefEntry& target, Mv& out) const;
  bool scaled_reference(const BlockMotion& neighbour, int list, const RefEntry& target, Mv& out) const;

  // tmvp.cpp
  bool temporal_vector(const Block& block, int list, int ref_idx, Mv& out) const;
  bool collocated_vector(int x, int y, int list, const RefEntry& target, Mv& out) const;

  // 6.4.2: the motion of the block that holds luma sample (xn, yn), if it is available to `block` and inter.
  bool neighbour(const Block& block, int xn, int yn, BlockMotion& out) const;
  const RefEntry& reference(int list, int idx) const {
    return slice_.slice->ref_list[static_cast<std::size_t>(list)][static_cast<std::size_t>(idx)];
  }

  CodecPicture& picture_;
  const Sps& sps_;
  const TileLayout& tiles_;
  const int log2_parallel_merge_level_;
  SliceMotion slice_;
  bool no_backward_prediction_ = false;  // NoBackwardPredFlag
};

// 8-179 to 8-183: `mv`, which spans td pictures, for tb pictures. td is not 0.
Mv scale_mv(Mv mv, int td, int tb);

}  // namespace ove::hevc
