#include "h264/motion.h"

#include <string>

#include "common/error.h"
#include "h264/motion_prediction.h"

namespace ove::h264 {

namespace {

// The vectors that the syntax gives for list 0, before those of list 1.
int count_list0(const InterMacroblock& mb) {
  const auto used = [&](std::size_t quadrant) { return mb.ref_idx[0][quadrant] >= 0 ? 1 : 0; };
  switch (mb.type) {
    case MbType::k16x16:
      return used(0);
    case MbType::k16x8:
      return used(0) + used(2);
    case MbType::k8x16:
      return used(0) + used(1);
    default: {
      int count = 0;
      for (std::size_t q = 0; q < 4; ++q) count += used(q) * num_sub_mb_parts(mb.sub[q]);
      return count;
    }
  }
}

}  // namespace

MotionDerivation::MotionDerivation(const ActiveSets& sets, CodedPicture& picture)
    : picture_(picture),
      direct_8x8_inference_(sets.sps->direct_8x8_inference),
      mbaff_(picture.structure == Structure::kMbaff),
      field_picture_(is_field(picture.structure)),
      width_in_mbs_(picture.width() / 16),
      stride_(picture.width4()),
      mv_(picture.buffers->mv.data()),
      ref_idx_(picture.buffers->ref_idx.data()) {}

void MotionDerivation::derive(const SliceContext& slice, const SliceMotion& motion) {
  if (motion.macroblocks.empty()) return;
  start_slice(slice);
  if (mbaff_) {
    derive_macroblocks<true>(motion);
  } else {
    derive_macroblocks<false>(motion);
  }
}

void MotionDerivation::start_slice(const SliceContext& slice) {
  mb_addr_ = x_ = y_ = 0;
  const Slice& lists = picture_.slices[slice.slice_idx];
  lists_ = {&lists.ref_list, &lists.field_ref_list[0], &lists.field_ref_list[1]};
  type_ = slice.header.type;
  direct_spatial_ = slice.header.direct_spatial_mv_pred;
  may_miss_references_ = slice.may_miss_references;
  collocated_ = &slice.collocated;
  if (type_ == SliceType::kB) {
    start_collocated();
    if (!direct_spatial_) start_temporal();
  }
}

template <bool kMbaff>
void MotionDerivation::derive_macroblocks(const SliceMotion& motion) {
  const Mv* mvd = motion.mvd.data();
  for (const InterMacroblock& mb : motion.macroblocks) {
    enter<kMbaff>(mb);
    if (mb.type == MbType::kSkip && type_ != SliceType::kB) {
      reference(0, 0);
      fill(kWhole, {.mv = {p_skip_vector<kMbaff>(), Mv()}, .ref_idx = {0, -1}});
    } else if (mb.type == MbType::kSkip || mb.type == MbType::kDirect) {
      derive_direct<kMbaff>(kAllQuadrants);
    } else {
      derive_partitions<kMbaff>(mb, mvd);
    }
  }
}

template <bool kMbaff>
void MotionDerivation::enter(const InterMacroblock& mb) {
  const auto mb_addr = static_cast<int>(mb.mb_addr);
  if constexpr (kMbaff) {
    const MbPosition at = mb_position(mb_addr, width_in_mbs_, true);
    x_ = at.x;
    y_ = at.y;
  } else {  // mostly the next one: no division
    for (x_ += mb_addr - mb_addr_; x_ >= width_in_mbs_; ++y_) x_ -= width_in_mbs_;
  }
  mb_addr_ = mb_addr;
  base_ = std::ptrdiff_t{4} * y_ * stride_ + 4 * x_;
  if constexpr (kMbaff) {
    bottom_ = y_ & 1;
    field_ = mb.field;
    kind_ = field_ ? (bottom_ ? 2 : 1) : 0;
  }
  available_ = mb_availability(picture_.buffers->slice_idx, x_, kMbaff ? y_ & ~1 : y_, width_in_mbs_, kMbaff);
}

template <bool kMbaff, MbType kShape>
void MotionDerivation::derive_part(const InterMacroblock& mb, Part part, std::size_t quadrant, Differences& mvd) {
  if constexpr (kShape == MbType::k16x16) part = kWhole;
  const Cells cells = neighbours<kMbaff>(part);
  BlockMotion motion;
  for (std::size_t list = 0; list < 2; ++list) {
    const int ref_idx = mb.ref_idx[list][quadrant];
    if (ref_idx < 0) continue;
    reference(list, ref_idx);
    const Mv predictor = predict<kMbaff, kShape>(part, cells, static_cast<int>(list), ref_idx);
    const Mv difference = *mvd[list]++;
    // modulo 2^16
    motion.mv[list] = {static_cast<std::int16_t>(predictor.x + difference.x),
                       static_cast<std::int16_t>(predictor.y + difference.y)};
    motion.ref_idx[list] = static_cast<std::int8_t>(ref_idx);
  }
  fill(part, motion);
}

template <bool kMbaff>
void MotionDerivation::derive_partitions(const InterMacroblock& mb, const Mv*& mvd) {
  Differences differences{mvd, mvd + count_list0(mb)};
  switch (mb.type) {
    case MbType::k16x16:
      derive_part<kMbaff, MbType::k16x16>(mb, kWhole, 0, differences);
      break;
    case MbType::k16x8:
      derive_part<kMbaff, MbType::k16x8>(mb, {0, 0, 4, 2}, 0, differences);
      derive_part<kMbaff, MbType::k16x8>(mb, {0, 2, 4, 2}, 2, differences);
      break;
    case MbType::k8x16:
      derive_part<kMbaff, MbType::k8x16>(mb, {0, 0, 2, 4}, 0, differences);
      derive_part<kMbaff, MbType::k8x16>(mb, {2, 0, 2, 4}, 1, differences);
      break;
    default: {
      unsigned direct = 0;
      for (unsigned q = 0; q < 4; ++q) direct |= unsigned{mb.sub[q] == SubMbType::kSubDirect} << q;
      // Direct quadrants depend on no other part of the macroblock.
      if (direct) derive_direct<kMbaff>(direct);
      for (unsigned q = 0; q < 4; ++q) {
        if (direct >> q & 1) continue;
        const int width = width4(mb.sub[q]), height = height4(mb.sub[q]);
        const int x0 = static_cast<int>(q & 1) * 2, y0 = static_cast<int>(q >> 1) * 2;
        for (int y4 = y0; y4 < y0 + 2; y4 += height) {
          for (int x4 = x0; x4 < x0 + 2; x4 += width)
            derive_part<kMbaff, MbType::k8x8>(mb, {x4, y4, width, height}, q, differences);
        }
      }
    }
  }
  mvd = differences[1];
}

// 8.4.1.2
template <bool kMbaff>
void MotionDerivation::derive_direct(unsigned quadrants) {
  reference(1, 0);
  if (direct_spatial_) {
    spatial_direct(quadrants, spatial_prediction<kMbaff>());
  } else {
    temporal_direct(quadrants);
  }
}

void MotionDerivation::fill_quadrants(unsigned quadrants, const BlockMotion& motion) {
  if (quadrants == kAllQuadrants) {
    fill(kWhole, motion);
    return;
  }
  for (unsigned q = 0; q < 4; ++q) {
    if (quadrants >> q & 1) fill({static_cast<int>(q & 1) * 2, static_cast<int>(q >> 1) * 2, 2, 2}, motion);
  }
}

void MotionDerivation::refuse(std::size_t list, int ref_idx) const {
  throw InvalidBitstreamError("the picture with POC " + std::to_string(picture_.poc) + " refers to index " +
                              std::to_string(ref_idx) + " of reference list " + std::to_string(list) +
                              ", where no picture is: one before it is missing or damaged");
}

}  // namespace ove::h264
