// Derivation of motion vectors and reference indices (8.4.1), in decoding order, after parsing.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "h264/macroblock.h"
#include "h264/neighbours.h"
#include "h264/picture.h"
#include "h264/slice_context.h"

namespace ove::h264 {

class MotionDerivation {
 public:
  MotionDerivation(const ActiveSets& sets, CodedPicture& picture);

  // Writes the motion of the macroblocks of one slice into the picture. Parsing has written which slice every
  // macroblock of the picture belongs to, and in MBAFF frames which of them are fields. The collocated pictures have
  // their motion. Throws InvalidBitstreamError where a block refers to a missing picture.
  void derive(const SliceContext& slice, const SliceMotion& motion);

 private:
  // How a vector and reference index of another macroblock become those of the current one.
  enum class Scale : std::uint8_t { kNone, kFrameToField, kFieldToFrame };

  // A 4x4 block of the picture.
  struct Cell {
    std::ptrdiff_t index = -1;  // negative where it is not available
    Scale scale = Scale::kNone;
  };

  // The neighbours A, B and C (D where C is not available) of a partition.
  struct Cells {
    Cell a, b, c;
  };

  // Motion of a neighbour in one list.
  struct Neighbour {
    bool available = false;
    int ref_idx = -1;  // negative where the list is unused; the vector is then 0
    Mv mv;
  };

  // A block of the picture that RefPicList1[0] was coded in; null where that is intra.
  struct CollocatedBlock {
    const CodecPicture* picture;
    int x4, y4;
    Scale scale;  // vertMvScale
  };

  // A partition of the macroblock, in 4x4 blocks.
  struct Part {
    int x4, y4, width4, height4;
  };
  static constexpr Part kWhole{0, 0, 4, 4};
  static constexpr unsigned kAllQuadrants = 0xF;  // bits by 8x8 quadrant

  // motion.cpp
  void start_slice(const SliceContext& slice);
  template <bool kMbaff>
  void derive_macroblocks(const SliceMotion& motion);
  template <bool kMbaff>
  void enter(const InterMacroblock& mb);
  using Differences = std::array<const Mv*, 2>;  // the next ones of each list
  template <bool kMbaff, MbType kShape>
  void derive_part(const InterMacroblock& mb, Part part, std::size_t quadrant, Differences& mvd);
  template <bool kMbaff>
  void derive_partitions(const InterMacroblock& mb, const Mv*& mvd);
  template <bool kMbaff>
  void derive_direct(unsigned quadrants);
  void fill(const Part& part, const BlockMotion& motion) {
    switch (part.width4) {
      case 4:
        return fill_rows<4>(part, motion);
      case 2:
        return fill_rows<2>(part, motion);
      default:
        return fill_rows<1>(part, motion);
    }
  }
  template <int kWidth4>
  void fill_rows(const Part& part, const BlockMotion& motion) {
    using Pair [[gnu::vector_size(16)]] = std::uint64_t;  // two blocks a store
    std::ptrdiff_t at = base_ + part.y4 * stride_ + part.x4;
    const auto mv = std::bit_cast<std::uint64_t>(motion.mv);
    const Pair pair{mv, mv};
    const std::uint64_t ref_idx = std::bit_cast<std::uint16_t>(motion.ref_idx) * std::uint64_t{0x0001000100010001};
    for (int y4 = 0; y4 < part.height4; ++y4, at += stride_) {
      void* const row = mv_ + at;
      if constexpr (kWidth4 == 1) std::memcpy(row, &mv, sizeof(mv));
      if constexpr (kWidth4 >= 2) std::memcpy(row, &pair, sizeof(pair));
      if constexpr (kWidth4 == 4) std::memcpy(static_cast<Pair*>(row) + 1, &pair, sizeof(pair));
      std::memcpy(static_cast<void*>(ref_idx_ + at), &ref_idx, 2 * kWidth4);
    }
  }
  void fill_quadrants(unsigned quadrants, const BlockMotion& motion);

  // motion_prediction.h
  template <bool kMbaff>
  Mv p_skip_vector() const;
  template <bool kMbaff, MbType kShape>
  Mv predict(const Part& part, const Cells& cells, int list, int ref_idx) const;
  template <bool kMbaff>
  BlockMotion spatial_prediction() const;
  static Mv median(const Neighbour& a, const Neighbour& b, const Neighbour& c, int ref_idx);
  template <bool kMbaff>
  Cell cell(int x4, int y) const;
  template <bool kMbaff>
  Cell above_right(const Part& part) const;
  template <bool kMbaff>
  Cells neighbours(const Part& part) const {
    return {cell<kMbaff>(part.x4 - 1, part.y4 * 4), cell<kMbaff>(part.x4, part.y4 * 4 - 1), above_right<kMbaff>(part)};
  }
  template <bool kMbaff>
  Neighbour motion_of(const Cell& cell, int list) const;
  // mbaff_neighbours.cpp
  Cell mbaff_outer_cell(int x4, int y) const;

  // direct_spatial.cpp
  void spatial_direct(unsigned quadrants, BlockMotion motion);
  static bool is_still(const BlockMotion& collocated);

  // direct_temporal.cpp
  void start_temporal();
  void temporal_direct(unsigned quadrants);
  BlockMotion temporal_motion(const CollocatedBlock& block) const;
  int map_to_list0(const CollocatedBlock& block, std::size_t list, int ref_idx) const;

  // collocated.cpp
  void start_collocated();
  CollocatedBlock collocated_block(int x4, int y4) const;

  // The lists that the current macroblock's indices point into.
  const RefLists& lists() const { return *lists_[kind_]; }
  // Throws where there is no such picture.
  const RefEntry& reference(std::size_t list, int ref_idx) const {
    const auto& entries = lists()[list];
    const auto i = static_cast<std::size_t>(ref_idx);
    if (i >= entries.size() || (entries[i].decode_index < 0 && !may_miss_references_)) [[unlikely]]
      refuse(list, ref_idx);
    return entries[i];
  }
  [[noreturn]] void refuse(std::size_t list, int ref_idx) const;

  CodedPicture& picture_;
  const bool direct_8x8_inference_;
  const bool mbaff_, field_picture_;
  const int width_in_mbs_;
  const std::ptrdiff_t stride_;  // of a row of 4x4 blocks
  std::array<Mv, 2>* const mv_;
  std::array<std::int8_t, 2>* const ref_idx_;

  // of the slice
  SliceType type_ = SliceType::kI;
  bool direct_spatial_ = false, may_miss_references_ = false;
  const Collocated* collocated_ = nullptr;
  // By kind of macroblock: 0 of frames and of field pictures, 1 and 2 top and bottom field macroblocks of MBAFF frames.
  std::array<const RefLists*, 3> lists_{};
  std::array<std::vector<int>, 3> dist_scale_factors_;  // of list 0; kUnscaled where vectors are taken as they are
  static constexpr int kUnscaled = 1 << 16;
  std::size_t nearer_field_ = 0;  // of RefPicList1[0], to frame macroblocks: parity
  // Motion of RefPicList1[0] where its blocks are those at the same place; null elsewhere.
  const PictureBuffers* same_place_ = nullptr;

  // of the macroblock
  int mb_addr_ = 0;
  int x_ = 0, y_ = 0;        // in macroblocks, as stored
  std::ptrdiff_t base_ = 0;  // index of its first 4x4 block
  bool field_ = false;       // a field macroblock of an MBAFF frame
  bool bottom_ = false;      // the bottom one of its pair
  std::size_t kind_ = 0;
  MbAvailability available_;
};

}  // namespace ove::h264
