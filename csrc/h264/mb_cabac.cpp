// Syntax elements of macroblocks in CABAC: binarisation (9.3.2) and choice of contexts (9.3.3.1).
#include <bit>

#include "h264/slice_data.h"

namespace ove::h264 {

// 9.3.3.1.1.1
bool SliceDataParser::cabac_mb_skip_flag() {
  const int increment = (left_[0]->flags & MbRecord::kNotSkip) + (above_->flags & MbRecord::kNotSkip);
  return decision((header_->type == SliceType::kB ? kCtxMbSkipB : kCtxMbSkipP) + increment) != 0;
}

// 9.3.3.1.1.2: of the pairs to the left and above
bool SliceDataParser::cabac_mb_field_decoding_flag() {
  const auto width = static_cast<std::size_t>(width_in_mbs_);
  const std::size_t pair = mb_index_ - (bottom_ ? width : 0);
  const bool left = mb_x_ > 0 && out_.slice_idx[pair - 1] == slice_->slice_idx && out_.field[pair - 1] != 0;
  const bool above =
      pair >= 2 * width && out_.slice_idx[pair - 2 * width] == slice_->slice_idx && out_.field[pair - 2 * width] != 0;
  return decision(kCtxMbFieldDecoding + left + above) != 0;
}

// 9.3.2.5: mb_type of Table 7-11, in I slices and behind a prefix
int SliceDataParser::cabac_mb_type_intra(int context, bool intra_slice) {
  if (intra_slice) {
    const int increment = left_[0]->has(MbRecord::kNotIntraNxN) + above_->has(MbRecord::kNotIntraNxN);
    if (!decision(context + increment)) return 0;
    context += 2;
  } else if (!decision(context)) {
    return 0;
  }
  if (cabac_.terminate()) return 25;
  const int step = intra_slice ? 1 : 0;
  int type = 1;
  if (decision(context + 1)) type += 12;
  if (decision(context + 2)) type += decision(context + 2 + step) ? 8 : 4;
  if (decision(context + 3 + step)) type += 2;
  if (decision(context + 3 + 2 * step)) type += 1;
  return type;
}

SliceDataParser::CodedType SliceDataParser::cabac_mb_type() {
  if (header_->type == SliceType::kI) return {cabac_mb_type_intra(kCtxMbTypeI, true), true};
  if (header_->type == SliceType::kP) {
    if (decision(kCtxMbTypeP)) return {cabac_mb_type_intra(kCtxMbTypeIntraInP, false), true};
    if (!decision(kCtxMbTypeP + 1)) return {decision(kCtxMbTypeP + 2) ? 3 : 0, false};
    return {decision(kCtxMbTypeP + 3) ? 1 : 2, false};
  }
  const int increment = left_[0]->has(MbRecord::kNotDirect) + above_->has(MbRecord::kNotDirect);
  if (!decision(kCtxMbTypeB + increment)) return {0, false};
  if (!decision(kCtxMbTypeB + 3)) return {1 + decision(kCtxMbTypeB + 5), false};
  int bins = decision(kCtxMbTypeB + 4);
  for (int i = 0; i < 3; ++i) bins = bins << 1 | decision(kCtxMbTypeB + 5);
  if (bins < 8) return {bins + 3, false};
  if (bins == 13) return {cabac_mb_type_intra(kCtxMbTypeIntraInB, false), true};
  if (bins == 14) return {11, false};
  if (bins == 15) return {22, false};
  bins = bins << 1 | decision(kCtxMbTypeB + 5);
  return {bins - 4, false};
}

// Tables 7-17 and 7-18
int SliceDataParser::cabac_sub_mb_type() {
  if (header_->type == SliceType::kP) {
    if (decision(kCtxSubMbTypeP)) return 0;
    if (!decision(kCtxSubMbTypeP + 1)) return 1;
    return decision(kCtxSubMbTypeP + 2) ? 2 : 3;
  }
  if (!decision(kCtxSubMbTypeB)) return 0;
  if (!decision(kCtxSubMbTypeB + 1)) return 1 + decision(kCtxSubMbTypeB + 3);
  int type = 3;
  if (decision(kCtxSubMbTypeB + 2)) {
    if (decision(kCtxSubMbTypeB + 3)) return 11 + decision(kCtxSubMbTypeB + 3);
    type += 4;
  }
  type += 2 * decision(kCtxSubMbTypeB + 3);
  return type + decision(kCtxSubMbTypeB + 3);
}

// 9.3.3.1.1.10
bool SliceDataParser::cabac_transform_size_8x8_flag() {
  const int increment = left_[0]->has(MbRecord::kTransform8x8) + above_->has(MbRecord::kTransform8x8);
  return decision(kCtxTransformSize8x8 + increment) != 0;
}

// 9.3.3.1.1.4
int SliceDataParser::cabac_coded_block_pattern() {
  Cabac cabac = cabac_;  // a local engine, so that it stays in registers
  const auto decide = [&](int context) { return cabac.decision(contexts_[static_cast<std::size_t>(context)]); };
  const auto left_bit = [&](std::size_t quadrant_row) {
    return left_[2 * quadrant_row]->cbp >> ((left_row_[2 * quadrant_row] >> 1) * 2 + 1) & 1;
  };
  const int left0 = left_bit(0), left1 = left_bit(1), above0 = above_->cbp >> 2 & 1, above1 = above_->cbp >> 3 & 1;
  const auto bin = [&](int a, int b) { return decide(kCtxCodedBlockPatternLuma + (a ^ 1) + 2 * (b ^ 1)); };
  const int b0 = bin(left0, above0);
  const int b1 = bin(b0, above1);
  const int b2 = bin(left1, b0);
  const int b3 = bin(b2, b1);
  int cbp = b0 | b1 << 1 | b2 << 2 | b3 << 3;
  if (sps_.chroma_format_idc == 1 || sps_.chroma_format_idc == 2) {
    const int left = left_[0]->cbp >> 4, above = above_->cbp >> 4;
    if (decide(kCtxCodedBlockPatternChroma + (left != 0) + 2 * (above != 0))) {
      cbp |= decide(kCtxCodedBlockPatternChroma + 4 + (left == 2) + 2 * (above == 2)) ? 0x20 : 0x10;
    }
  }
  cabac_ = cabac;
  return cbp;
}

// 9.3.3.1.1.5
int SliceDataParser::cabac_mb_qp_delta() {
  if (!decision(kCtxMbQpDelta + (last_qp_delta_ != 0))) return 0;
  int value = 1;
  for (int context = kCtxMbQpDelta + 2; decision(context); context = kCtxMbQpDelta + 3) {
    if (++value > 2 * (52 + qp_bd_offset_)) throw InvalidBitstreamError("mb_qp_delta is out of range");
  }
  return value & 1 ? (value + 1) >> 1 : -(value >> 1);
}

int SliceDataParser::cabac_intra_pred_mode() {
  if (decision(kCtxPrevIntraPredMode)) return -1;
  int mode = decision(kCtxRemIntraPredMode);
  mode |= decision(kCtxRemIntraPredMode) << 1;
  return mode | decision(kCtxRemIntraPredMode) << 2;
}

// 9.3.3.1.1.8
int SliceDataParser::cabac_intra_chroma_pred_mode() {
  const int increment = left_[0]->has(MbRecord::kChromaMode) + above_->has(MbRecord::kChromaMode);
  if (!decision(kCtxIntraChromaPredMode + increment)) return 0;
  if (!decision(kCtxIntraChromaPredMode + 3)) return 1;
  return decision(kCtxIntraChromaPredMode + 3) ? 3 : 2;
}

// 9.3.3.1.1.6
int SliceDataParser::cabac_ref_idx(int list, int quadrant, int count) {
  const auto& grid = ref_idx_grid_[static_cast<std::size_t>(list)];
  const auto at = static_cast<std::size_t>((quadrant >> 1) * 4 + (quadrant & 1) + 5);
  int increment = grid[at - 1] + 2 * grid[at - 4];
  int ref_idx = 0;
  while (decision(kCtxRefIdx + increment)) {
    if (++ref_idx >= count) throw InvalidBitstreamError("ref_idx is beyond the reference list");
    increment = increment < 4 ? 4 : 5;
  }
  return ref_idx;
}

// 9.3.3.1.1.7; `sum` is that of the neighbours' absolute differences
[[gnu::always_inline]] inline int SliceDataParser::cabac_mvd_component(Cabac& cabac, int context, int sum) {
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

Mv SliceDataParser::cabac_mvd(int list, int x4, int y4) {
  const auto& grid = mvd_grid_[static_cast<std::size_t>(list)];
  const std::size_t at = grid_at(x4, y4);
  const MbRecord::AbsMvd a = grid[at - 1], b = grid[at - kGridRow];
  Cabac cabac = cabac_;
  const int x = cabac_mvd_component(cabac, kCtxMvdX, a.x + b.x);
  const int y = cabac_mvd_component(cabac, kCtxMvdY, a.y + b.y);
  cabac_ = cabac;
  return {static_cast<std::int16_t>(x), static_cast<std::int16_t>(y)};
}

}  // namespace ove::h264
