#include "h264/slice_header.h"

#include <algorithm>

namespace ove::h264 {

namespace {

// 7.4.3, Table 7-6
SliceType slice_type(int value) {
  switch (value % 5) {
    case 0:
      return SliceType::kP;
    case 1:
      return SliceType::kB;
    case 2:
      return SliceType::kI;
    default:
      throw UnsupportedStreamError("the stream uses SP or SI slices, which are not supported");
  }
}

void parse_order_count(BitReader& r, const Sps& sps, const Pps& pps, SliceHeader& h) {
  const bool frame_with_two = pps.bottom_field_pic_order_in_frame_present && !h.is_field();
  if (sps.pic_order_cnt_type == 0) {
    h.pic_order_cnt_lsb = static_cast<int>(r.u(sps.log2_max_poc_lsb));
    if (frame_with_two) h.delta_pic_order_cnt_bottom = r.se();
  } else if (sps.pic_order_cnt_type == 1 && !sps.delta_pic_order_always_zero) {
    h.delta_pic_order_cnt[0] = r.se();
    if (frame_with_two) h.delta_pic_order_cnt[1] = r.se();
  }
}

void parse_num_ref_idx(BitReader& r, const Pps& pps, SliceHeader& h) {
  if (h.is_intra()) return;
  const std::size_t lists = h.type == SliceType::kB ? 2 : 1;
  const bool override = r.flag();
  const int limit = h.is_field() ? 32 : 16;
  for (std::size_t x = 0; x < lists; ++x) {
    h.num_ref_idx_active[x] = override ? r.ue(31, "num_ref_idx_active_minus1") + 1 : pps.num_ref_idx_default_active[x];
    if (h.num_ref_idx_active[x] > limit) throw InvalidBitstreamError("a reference list has too many entries");
  }
}

// 7.3.3.1
void parse_modifications(BitReader& r, SliceHeader& h) {
  for (std::size_t x = 0; x < 2; ++x) {
    if (h.num_ref_idx_active[x] == 0 || !r.flag()) continue;
    for (;;) {
      const int idc = r.ue(5, "modification_of_pic_nums_idc");
      if (idc == 3) break;
      if (idc > 3) throw InvalidBitstreamError("a reference list names a picture of another view");
      if (std::ssize(h.modifications[x]) > h.num_ref_idx_active[x]) {
        throw InvalidBitstreamError("a reference list has more modifications than entries");
      }
      h.modifications[x].push_back({idc, r.ue()});
    }
  }
}

// 7.3.3.2
void parse_pred_weight_table(BitReader& r, const Sps& sps, SliceHeader& h) {
  h.has_weights = true;
  h.luma_log2_weight_denom = r.ue(7, "luma_log2_weight_denom");
  const bool has_chroma = sps.chroma_format_idc != 0;
  if (has_chroma) r.ue(7, "chroma_log2_weight_denom");
  for (std::size_t x = 0; x < 2; ++x) {
    for (std::size_t i = 0; i < static_cast<std::size_t>(h.num_ref_idx_active[x]); ++i) {
      LumaWeight& w = h.luma_weights[x][i];
      w = {1 << h.luma_log2_weight_denom, 0};
      if (r.flag()) {
        w.weight = r.se(-128, 127, "luma_weight");
        w.offset = r.se(-128, 127, "luma_offset");
      }
      if (has_chroma && r.flag()) {
        for (int value = 0; value < 4; ++value) r.se(-128, 127, "a chroma weight or offset");
      }
    }
  }
}

// 7.3.3.3
void parse_marking(BitReader& r, SliceHeader& h) {
  if (h.nal.is_idr()) {
    h.no_output_of_prior_pics = r.flag();
    h.long_term_reference = r.flag();
    return;
  }
  h.adaptive_marking = r.flag();
  if (!h.adaptive_marking) return;
  // Each of up to 32 fields can be marked, and marked again as another kind.
  constexpr std::size_t kMaxOperations = 128;
  for (;;) {
    MarkingOperation op{r.ue(6, "memory_management_control_operation")};
    if (op.operation == 0) break;
    if (h.marking.size() == kMaxOperations) throw InvalidBitstreamError("a slice marks too many reference pictures");
    if (op.operation == 1 || op.operation == 3) op.difference_of_pic_nums_minus1 = r.ue();
    if (op.operation == 2) op.long_term_pic_num = r.ue();
    if (op.operation == 3 || op.operation == 4 || op.operation == 6) op.long_term_frame_idx = r.ue();
    h.marking.push_back(op);
  }
}

}  // namespace

bool SliceHeader::resets_order() const {
  return std::any_of(marking.begin(), marking.end(), [](const MarkingOperation& op) { return op.operation == 5; });
}

SliceHeader parse_slice_header(BitReader& r, NalHeader nal, const ActivateSets& activate) {
  SliceHeader h;
  h.nal = nal;
  const std::uint32_t first_mb = r.ue();
  h.type = slice_type(r.ue(9, "slice_type"));
  h.pps_id = r.ue(255, "pic_parameter_set_id");
  const auto [sps, pps] = activate(h.pps_id);
  h.frame_num = static_cast<int>(r.u(sps.log2_max_frame_num));
  if (!sps.frame_mbs_only && r.flag()) h.structure = r.flag() ? Structure::kBottomField : Structure::kTopField;
  h.mbaff = sps.mb_adaptive_frame_field && !h.is_field();
  if (h.mbaff) h.structure = Structure::kMbaff;
  const int size_in_mbs = sps.width_in_mbs * sps.height_in_mbs / (h.is_field() || h.mbaff ? 2 : 1);
  if (first_mb >= static_cast<std::uint32_t>(size_in_mbs)) {
    throw InvalidBitstreamError("a slice begins behind the end of its picture");
  }
  h.first_mb = static_cast<int>(first_mb);
  if (nal.is_idr()) h.idr_pic_id = r.ue(65535, "idr_pic_id");
  parse_order_count(r, sps, pps, h);
  if (pps.redundant_pic_cnt_present) h.redundant_pic_cnt = r.ue(127, "redundant_pic_cnt");
  if (h.type == SliceType::kB) h.direct_spatial_mv_pred = r.flag();
  if (nal.is_idr() && !h.is_intra()) throw InvalidBitstreamError("an IDR picture has inter slices");
  parse_num_ref_idx(r, pps, h);
  parse_modifications(r, h);
  if ((pps.weighted_pred && h.type == SliceType::kP) || (pps.weighted_bipred_idc == 1 && h.type == SliceType::kB)) {
    parse_pred_weight_table(r, sps, h);
  }
  if (nal.ref_idc != 0) parse_marking(r, h);
  if (pps.entropy_coding_mode && !h.is_intra()) h.cabac_init_idc = r.ue(2, "cabac_init_idc");
  const std::int64_t qp = std::int64_t{pps.init_qp} + r.se();  // slice_qp_delta
  if (qp < -sps.qp_bd_offset() || qp > 51) throw InvalidBitstreamError("the QP of a slice is out of range");
  h.qp = static_cast<int>(qp);
  if (pps.deblocking_filter_control_present && r.ue(2, "disable_deblocking_filter_idc") != 1) {
    r.se(-6, 6, "slice_alpha_c0_offset_div2");
    r.se(-6, 6, "slice_beta_offset_div2");
  }
  h.data_begin = r.position();
  return h;
}

bool begins_picture(const SliceHeader& a, const SliceHeader& b, const Sps& sps) {
  if (a.frame_num != b.frame_num || a.structure != b.structure || a.nal.is_idr() != b.nal.is_idr() ||
      (a.nal.ref_idc == 0) != (b.nal.ref_idc == 0)) {
    return true;
  }
  if (a.nal.is_idr() && a.idr_pic_id != b.idr_pic_id) return true;
  if (sps.pic_order_cnt_type == 0) {
    return a.pic_order_cnt_lsb != b.pic_order_cnt_lsb || a.delta_pic_order_cnt_bottom != b.delta_pic_order_cnt_bottom;
  }
  return sps.pic_order_cnt_type == 1 && a.delta_pic_order_cnt != b.delta_pic_order_cnt;
}

}  // namespace ove::h264
