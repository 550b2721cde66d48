// Syntax elements of macroblocks in CABAC: binarisation (9.3.2) and choice of contexts (9.3.3.1). In a header, so that
// the engine stays in registers over the syntax elements of a macroblock.
#pragma once

#include "h264/slice_data.h"

namespace ove::h264 {

// 9.3.3.1.1.1
[[gnu::always_inline]] inline bool SliceDataParser::read_mb_skip_flag(Cabac& cabac) {
  const int increment = (left_[0]->flags & MbRecord::kNotSkip) + (above_->flags & MbRecord::kNotSkip);
  return decision(cabac, (header_->type == SliceType::kB ? kCtxMbSkipB : kCtxMbSkipP) + increment) != 0;
}

// 9.3.3.1.1.2: of the pairs to the left and above
[[gnu::always_inline]] inline bool SliceDataParser::read_mb_field_decoding_flag(Cabac& cabac) {
  const auto width = static_cast<std::size_t>(width_in_mbs_);
  const std::size_t pair = mb_index_ - (bottom_ ? width : 0);
  const bool left = mb_x_ > 0 && out_.slice_idx[pair - 1] == slice_->slice_idx && out_.field[pair - 1] != 0;
  const bool above =
      pair >= 2 * width && out_.slice_idx[pair - 2 * width] == slice_->slice_idx && out_.field[pair - 2 * width] != 0;
  return decision(cabac, kCtxMbFieldDecoding + left + above) != 0;
}

// 9.3.2.5: mb_type of Table 7-11, in I slices and behind a prefix
[[gnu::always_inline]] inline int SliceDataParser::read_mb_type_intra(Cabac& cabac, int context) {
  const bool intra_slice = context == kCtxMbTypeI;
  if (intra_slice) {
    const int increment = left_[0]->has(MbRecord::kNotIntraNxN) + above_->has(MbRecord::kNotIntraNxN);
    if (!decision(cabac, context + increment)) return 0;
    context += 2;
  } else if (!decision(cabac, context)) {
    return 0;
  }
  if (cabac.terminate()) return 25;
  const int step = intra_slice ? 1 : 0;
  int type = 1;
  if (decision(cabac, context + 1)) type += 12;
  if (decision(cabac, context + 2)) type += decision(cabac, context + 2 + step) ? 8 : 4;
  if (decision(cabac, context + 3 + step)) type += 2;
  if (decision(cabac, context + 3 + 2 * step)) type += 1;
  return type;
}

[[gnu::always_inline]] inline SliceDataParser::CodedType SliceDataParser::read_mb_type(Cabac& cabac) {
  int intra_context = kCtxMbTypeI;
  if (header_->type == SliceType::kP) {
    if (!decision(cabac, kCtxMbTypeP)) {
      if (!decision(cabac, kCtxMbTypeP + 1)) return {decision(cabac, kCtxMbTypeP + 2) ? 3 : 0, false};
      return {decision(cabac, kCtxMbTypeP + 3) ? 1 : 2, false};
    }
    intra_context = kCtxMbTypeIntraInP;
  } else if (header_->type == SliceType::kB) {
    const int increment = left_[0]->has(MbRecord::kNotDirect) + above_->has(MbRecord::kNotDirect);
    if (!decision(cabac, kCtxMbTypeB + increment)) return {0, false};
    if (!decision(cabac, kCtxMbTypeB + 3)) return {1 + decision(cabac, kCtxMbTypeB + 5), false};
    int bins = decision(cabac, kCtxMbTypeB + 4);
    for (int i = 0; i < 3; ++i) bins = bins << 1 | decision(cabac, kCtxMbTypeB + 5);
    if (bins < 8) return {bins + 3, false};
    if (bins == 14) return {11, false};
    if (bins == 15) return {22, false};
    if (bins != 13) return {(bins << 1 | decision(cabac, kCtxMbTypeB + 5)) - 4, false};
    intra_context = kCtxMbTypeIntraInB;
  }
  return {read_mb_type_intra(cabac, intra_context), true};
}

// Tables 7-17 and 7-18
[[gnu::always_inline]] inline int SliceDataParser::read_sub_mb_type(Cabac& cabac) {
  if (header_->type == SliceType::kP) {
    if (decision(cabac, kCtxSubMbTypeP)) return 0;
    if (!decision(cabac, kCtxSubMbTypeP + 1)) return 1;
    return decision(cabac, kCtxSubMbTypeP + 2) ? 2 : 3;
  }
  if (!decision(cabac, kCtxSubMbTypeB)) return 0;
  if (!decision(cabac, kCtxSubMbTypeB + 1)) return 1 + decision(cabac, kCtxSubMbTypeB + 3);
  int type = 3;
  if (decision(cabac, kCtxSubMbTypeB + 2)) {
    if (decision(cabac, kCtxSubMbTypeB + 3)) return 11 + decision(cabac, kCtxSubMbTypeB + 3);
    type += 4;
  }
  type += 2 * decision(cabac, kCtxSubMbTypeB + 3);
  return type + decision(cabac, kCtxSubMbTypeB + 3);
}

// 9.3.3.1.1.10
[[gnu::always_inline]] inline bool SliceDataParser::read_transform_size_8x8_flag(Cabac& cabac) {
  const int increment = left_[0]->has(MbRecord::kTransform8x8) + above_->has(MbRecord::kTransform8x8);
  return decision(cabac, kCtxTransformSize8x8 + increment) != 0;
}

// 9.3.3.1.1.4
[[gnu::always_inline]] inline int SliceDataParser::read_coded_block_pattern(Cabac& cabac) {
  const auto left_bit = [&](std::size_t quadrant_row) {
    return left_[2 * quadrant_row]->cbp >> ((left_row_[2 * quadrant_row] >> 1) * 2 + 1) & 1;
  };
  const int left0 = left_bit(0), left1 = left_bit(1), above0 = above_->cbp >> 2 & 1, above1 = above_->cbp >> 3 & 1;
  const auto bin = [&](int a, int b) { return decision(cabac, kCtxCodedBlockPatternLuma + (a ^ 1) + 2 * (b ^ 1)); };
  const int b0 = bin(left0, above0);
  const int b1 = bin(b0, above1);
  const int b2 = bin(left1, b0);
  const int b3 = bin(b2, b1);
  int cbp = b0 | b1 << 1 | b2 << 2 | b3 << 3;
  if (sps_.chroma_format_idc == 1 || sps_.chroma_format_idc == 2) {
    const int left = left_[0]->cbp >> 4, above = above_->cbp >> 4;
    if (decision(cabac, kCtxCodedBlockPatternChroma + (left != 0) + 2 * (above != 0))) {
      cbp |= decision(cabac, kCtxCodedBlockPatternChroma + 4 + (left == 2) + 2 * (above == 2)) ? 0x20 : 0x10;
    }
  }
  return cbp;
}

// 9.3.3.1.1.5
[[gnu::always_inline]] inline int SliceDataParser::read_mb_qp_delta(Cabac& cabac) {
  if (!decision(cabac, kCtxMbQpDelta + (last_qp_delta_ != 0))) return 0;
  int value = 1;
  for (int context = kCtxMbQpDelta + 2; decision(cabac, context); context = kCtxMbQpDelta + 3) {
    if (++value > 2 * (52 + qp_bd_offset_)) throw InvalidBitstreamError("mb_qp_delta is out of range");
  }
  return value & 1 ? (value + 1) >> 1 : -(value >> 1);
}

[[gnu::always_inline]] inline int SliceDataParser::read_intra_pred_mode(Cabac& cabac) {
  if (decision(cabac, kCtxPrevIntraPredMode)) return -1;
  int mode = decision(cabac, kCtxRemIntraPredMode);
  mode |= decision(cabac, kCtxRemIntraPredMode) << 1;
  return mode | decision(cabac, kCtxRemIntraPredMode) << 2;
}

// 9.3.3.1.1.8
[[gnu::always_inline]] inline int SliceDataParser::read_intra_chroma_pred_mode(Cabac& cabac) {
  const int increment = left_[0]->has(MbRecord::kChromaMode) + above_->has(MbRecord::kChromaMode);
  if (!decision(cabac, kCtxIntraChromaPredMode + increment)) return 0;
  if (!decision(cabac, kCtxIntraChromaPredMode + 3)) return 1;
  return decision(cabac, kCtxIntraChromaPredMode + 3) ? 3 : 2;
}

// 9.3.3.1.1.6
[[gnu::always_inline]] inline int SliceDataParser::read_ref_idx(Cabac& cabac, int list, int quadrant, int count) {
  const auto& grid = ref_idx_grid_[static_cast<std::size_t>(list)];
  const auto at = static_cast<std::size_t>((quadrant >> 1) * 4 + (quadrant & 1) + 5);
  int increment = grid[at - 1] + 2 * grid[at - 4];
  int ref_idx = 0;
  while (decision(cabac, kCtxRefIdx + increment)) {
    if (++ref_idx >= count) throw InvalidBitstreamError("ref_idx is beyond the reference list");
    increment = increment < 4 ? 4 : 5;
  }
  return ref_idx;
}

// 9.3.3.1.1.7; `sum` is that of the neighbours' absolute differences
[[gnu::always_inline]] inline int SliceDataParser::read_mvd_component(Cabac& cabac, int context, int sum) {
  ContextState* const contexts = contexts_.data() + context;
  if (!cabac.decision(contexts[(sum > 2) + (sum > 32)])) return 0;
  int value = 1;
  for (int increment = 3; value < 9 && cabac.decision(contexts[increment]); ++value) increment += increment < 6;
  if (value == 9) {  // 9.3.2.3: a suffix, Exp-Golomb of order 3
    int k = 3;
    while (cabac.bypass()) {
      value += 1 << k;
      if (++k > 16) throw InvalidBitstreamError("a motion vector difference is out of range");
    }
    value += static_cast<int>(cabac.bypass_bits(k));
  }
  if (cabac.bypass()) value = -value;
  if (value < -32768 || value > 32767) throw InvalidBitstreamError("a motion vector difference is out of range");
  return value;
}

[[gnu::always_inline]] inline Mv SliceDataParser::read_mvd(Cabac& cabac, int list, int x4, int y4) {
  const auto& grid = mvd_grid_[static_cast<std::size_t>(list)];
  const std::size_t at = grid_at(x4, y4);
  const MbRecord::AbsMvd a = grid[at - 1], b = grid[at - kGridRow];
  const int x = read_mvd_component(cabac, kCtxMvdX, a.x + b.x);
  const int y = read_mvd_component(cabac, kCtxMvdY, a.y + b.y);
  return {static_cast<std::int16_t>(x), static_cast<std::int16_t>(y)};
}

}  // namespace ove::h264
