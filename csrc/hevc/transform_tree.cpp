#include <algorithm>

#include "hevc/slice_data.h"

namespace ove::hevc {

// 7.3.8.8
void SliceDataParser::transform_tree(const CodingUnit& cu, int x, int y, int x_base, int y_base, int log2_size,
                                     int depth, int blk_idx, ChromaCbf parent) {
  const bool intra_split = cu.intra && cu.part_mode == PartMode::kNxN;
  bool split;
  if (log2_size <= sps_.log2_max_tb && log2_size > sps_.log2_min_tb && depth < cu.max_trafo_depth &&
      !(intra_split && depth == 0)) {
    split = decision(kCtxSplitTransform + 5 - log2_size);
  } else {
    const bool inter_split =
        sps_.max_transform_hierarchy_depth_inter == 0 && !cu.intra && cu.part_mode != PartMode::k2Nx2N && depth == 0;
    split = log2_size > sps_.log2_max_tb || (intra_split && depth == 0) || inter_split;
  }
  ChromaCbf cbf;
  const int chroma_type = sps_.chroma_array_type;
  if ((log2_size > 2 && chroma_type != 0) || chroma_type == 3) {
    const bool two = chroma_type == 2 && (!split || log2_size == 3);
    if (depth == 0 || parent.cb) cbf.cb = parse_chroma_cbf(kCtxCbfChroma + depth, two);
    if (depth == 0 || parent.cr) cbf.cr = parse_chroma_cbf(kCtxCbfChroma + depth, two);
  } else if (log2_size == 2) {
    cbf = parent;  // the chroma of four 4x4 luma blocks lies with the last one
  }
  if (split) {
    const int half = 1 << (log2_size - 1);
    for (int i = 0; i < 4; ++i) {
      transform_tree(cu, x + (i & 1) * half, y + (i >> 1) * half, x, y, log2_size - 1, depth + 1, i, cbf);
    }
    return;
  }
  const bool cbf_luma = (!cu.intra && depth == 0 && !cbf.any()) || decision(kCtxCbfLuma + (depth == 0));
  if (!cbf_luma && !cbf.any()) return;
  const auto parse = [&] { transform_unit(cu, x, y, x_base, y_base, log2_size, blk_idx, cbf_luma, cbf); };
  if (bits_rule_ == codec::BitsRule::kWholeBytes) return parse();  // residual_coding() spreads
  spread_over(x, y, 1 << log2_size, parse);
}

int SliceDataParser::parse_chroma_cbf(int context, bool two) {
  const int first = decision(context);
  return two ? first | decision(context) << 1 : first;
}

// 7.3.8.10, called for units with a coded block flag set
void SliceDataParser::transform_unit(const CodingUnit& cu, int x, int y, int x_base, int y_base, int log2_size,
                                     int blk_idx, bool cbf_luma, ChromaCbf cbf) {
  if (pps_.cu_qp_delta_enabled && !cu_qp_delta_coded_) parse_cu_qp_delta();
  if (header_->cu_chroma_qp_offset_enabled && cbf.any() && !cu.transquant_bypass && !cu_chroma_qp_offset_coded_) {
    parse_cu_chroma_qp_offset();
  }
  // With NxN intra partitions, the part that this unit lies in.
  const int half = (1 << cu.log2_size) >> 1;
  const int part = cu.part_mode == PartMode::kNxN ? (x >= cu.x + half) + 2 * (y >= cu.y + half) : 0;
  if (cbf_luma) {
    const int mode = cu.intra ? cu.intra_luma[static_cast<std::size_t>(part)] : -1;
    residual_coding(cu, {x, y, log2_size, 0, mode});
  }
  const int chroma_type = sps_.chroma_array_type;
  if (log2_size > 2 || chroma_type == 3) {
    chroma_residuals(cu, x, y, log2_size - (chroma_type == 3 ? 0 : 1), part, cbf_luma, cbf);
  } else if (blk_idx == 3) {
    chroma_residuals(cu, x_base, y_base, 2, 0, cbf_luma, cbf);
  }
}

void SliceDataParser::chroma_residuals(const CodingUnit& cu, int x, int y, int log2_size, int part, bool cbf_luma,
                                       ChromaCbf cbf) {
  const auto p = static_cast<std::size_t>(part);
  const bool cross_component =
      pps_.cross_component_prediction_enabled && cbf_luma && (!cu.intra || cu.chroma_from_luma_mode[p]);
  const int mode = cu.intra ? cu.intra_chroma[p] : -1;
  for (int c = 0; c < 2; ++c) {
    if (cross_component) {  // 7.3.8.12
      int log2_res_scale_abs = 0;
      while (log2_res_scale_abs < 4 && decision(kCtxLog2ResScaleAbs + 4 * c + log2_res_scale_abs)) ++log2_res_scale_abs;
      if (log2_res_scale_abs) decision(kCtxResScaleSign + c);
    }
    const int flags = c == 0 ? cbf.cb : cbf.cr;
    for (int i = 0; i < 2; ++i) {
      if (flags >> i & 1) residual_coding(cu, {x, y, log2_size, c + 1, mode});
    }
  }
}

// 7.3.8.14; the binarisation of 9.3.3.10
void SliceDataParser::parse_cu_qp_delta() {
  int magnitude = 0;
  while (magnitude < 5 && decision(kCtxCuQpDeltaAbs + (magnitude > 0))) ++magnitude;
  if (magnitude == 5) magnitude += exp_golomb_bypass(0);
  const bool negative = magnitude > 0 && cabac_.bypass();
  const int half_range = 26 + 3 * (sps_.bit_depth_luma - 8);  // 26 + QpBdOffsetY / 2
  if (magnitude > half_range || (magnitude == half_range && !negative)) {
    throw InvalidBitstreamError("cu_qp_delta_abs is out of range");
  }
  cu_qp_delta_coded_ = true;
  cu_qp_delta_ = negative ? -magnitude : magnitude;
  update_qp();
}

void SliceDataParser::parse_cu_chroma_qp_offset() {
  if (decision(kCtxCuChromaQpOffsetFlag)) {
    for (int i = 1; i < pps_.chroma_qp_offset_list_len && decision(kCtxCuChromaQpOffsetIdx); ++i) {
    }
  }
  cu_chroma_qp_offset_coded_ = true;
}

// 8.6.1: qPY_PRED of the group at (x, y)
void SliceDataParser::start_quantization_group(int x, int y) {
  cu_qp_delta_coded_ = false;
  cu_qp_delta_ = 0;
  const int left = x > ctb_x_ ? out_.qp[min_cb_index(x - 1, y)] : last_qp_;
  const int above = y > ctb_y_ ? out_.qp[min_cb_index(x, y - 1)] : last_qp_;
  qp_prediction_ = (left + above + 1) >> 1;
}

// 8-283
void SliceDataParser::update_qp() {
  const int bd_offset = 6 * (sps_.bit_depth_luma - 8);
  qp_ = (qp_prediction_ + cu_qp_delta_ + 52 + 2 * bd_offset) % (52 + bd_offset) - bd_offset;
}

}  // namespace ove::hevc
