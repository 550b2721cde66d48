#include <string>

#include "bitstream/bit_reader.h"
#include "h264/parameter_sets.h"

namespace ove::h264 {

namespace {

PpsIds parse_ids(BitReader& r) {
  const int id = r.ue(255, "pic_parameter_set_id");
  return {id, r.ue(31, "seq_parameter_set_id")};
}

}  // namespace

PpsIds parse_pps_ids(std::span<const std::uint8_t> rbsp) {
  BitReader r(rbsp);
  return parse_ids(r);
}

Pps parse_pps(std::span<const std::uint8_t> rbsp, const Sps& sps) {
  BitReader r(rbsp);
  Pps pps;
  const PpsIds ids = parse_ids(r);
  pps.id = ids.id;
  pps.sps_id = ids.sps_id;
  pps.entropy_coding_mode = r.flag();
  pps.bottom_field_pic_order_in_frame_present = r.flag();
  if (r.ue(7, "num_slice_groups_minus1") > 0) {
    throw UnsupportedStreamError("the stream uses slice groups (num_slice_groups_minus1), which are not supported");
  }
  for (int& count : pps.num_ref_idx_default_active) count = r.ue(31, "num_ref_idx_default_active_minus1") + 1;
  pps.weighted_pred = r.flag();
  pps.weighted_bipred_idc = static_cast<int>(r.u(2));
  if (pps.weighted_bipred_idc == 3) throw InvalidBitstreamError("weighted_bipred_idc is 3");
  pps.init_qp = 26 + r.se(-26 - sps.qp_bd_offset(), 25, "pic_init_qp_minus26");
  r.se(-26, 25, "pic_init_qs_minus26");
  r.se(-12, 12, "chroma_qp_index_offset");
  pps.deblocking_filter_control_present = r.flag();
  pps.constrained_intra_pred = r.flag();
  pps.redundant_pic_cnt_present = r.flag();
  pps.scaling_factors = sps.scaling_factors;
  if (!r.more_rbsp_data()) return pps;
  pps.transform_8x8_mode = r.flag();
  if (r.flag()) {  // pic_scaling_matrix_present_flag
    const int count8 = !pps.transform_8x8_mode ? 0 : sps.chroma_format_idc == 3 ? 6 : 2;
    pps.scaling_factors = parse_scaling_lists(r, count8, sps.has_scaling_matrix ? &sps.scaling_factors : nullptr);
  }
  r.se(-12, 12, "second_chroma_qp_index_offset");
  return pps;
}

}  // namespace ove::h264
