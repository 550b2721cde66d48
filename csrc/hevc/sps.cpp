#include <algorithm>
#include <string>

#include "bitstream/bit_reader.h"
#include "hevc/parameter_sets.h"

namespace ove::hevc {

namespace {

// 7.3.3
void skip_profile_tier_level(BitReader& r, int max_sub_layers) {
  r.skip(2 + 1 + 5 + 32 + 4 + 43 + 1 + 8);  // general_profile_space to general_level_idc
  std::array<bool, 8> profile_present{}, level_present{};
  const auto sub_layers = static_cast<std::size_t>(max_sub_layers - 1);
  for (std::size_t i = 0; i < sub_layers; ++i) {
    profile_present[i] = r.flag();
    level_present[i] = r.flag();
  }
  if (sub_layers > 0) r.skip(2 * (8 - sub_layers));
  for (std::size_t i = 0; i < sub_layers; ++i) {
    r.skip((profile_present[i] ? 88u : 0u) + (level_present[i] ? 8u : 0u));
  }
}

// E.2.3
void skip_sub_layer_hrd(BitReader& r, int cpb_count, bool sub_pic_params) {
  for (int i = 0; i < cpb_count; ++i) {
    r.ue(), r.ue();
    if (sub_pic_params) r.ue(), r.ue();
    r.skip(1);
  }
}

// E.2.2
void skip_hrd_parameters(BitReader& r, int max_sub_layers) {
  const bool nal = r.flag(), vcl = r.flag();
  bool sub_pic_params = false;
  if (nal || vcl) {
    sub_pic_params = r.flag();
    if (sub_pic_params) r.skip(8 + 5 + 1 + 5);
    r.skip(4 + 4);
    if (sub_pic_params) r.skip(4);
    r.skip(5 + 5 + 5);
  }
  for (int i = 0; i < max_sub_layers; ++i) {
    const bool fixed_general = r.flag();
    const bool fixed_within_cvs = fixed_general || r.flag();
    bool low_delay = false;
    if (fixed_within_cvs) {
      r.ue();  // elemental_duration_in_tc_minus1
    } else {
      low_delay = r.flag();
    }
    const int cpb_count = low_delay ? 1 : r.ue(31, "cpb_cnt_minus1") + 1;
    if (nal) skip_sub_layer_hrd(r, cpb_count, sub_pic_params);
    if (vcl) skip_sub_layer_hrd(r, cpb_count, sub_pic_params);
  }
}

// E.2.1
Vui parse_vui(BitReader& r, int max_sub_layers) {
  Vui vui;
  if (r.flag() && r.u(8) == 255) r.skip(32);  // aspect_ratio_idc EXTENDED_SAR
  if (r.flag()) r.skip(1);                    // overscan
  if (r.flag()) {                             // video_signal_type
    r.skip(3 + 1);
    if (r.flag()) r.skip(24);
  }
  if (r.flag()) r.ue(), r.ue();                  // chroma_loc
  r.skip(1);                                     // neutral_chroma_indication_flag
  r.skip(2);                                     // field_seq_flag, frame_field_info_present_flag
  if (r.flag()) r.ue(), r.ue(), r.ue(), r.ue();  // default display window
  if (r.flag()) {                                // vui_timing_info_present_flag
    vui.num_units_in_tick = r.u(32);
    vui.time_scale = r.u(32);
    if (r.flag()) r.ue();
    if (r.flag()) skip_hrd_parameters(r, max_sub_layers);
  }
  if (r.flag()) {  // bitstream_restriction_flag
    r.skip(3);
    r.ue(), r.ue(), r.ue(), r.ue(), r.ue();
  }
  return vui;
}

[[noreturn]] void unsupported(const std::string& tool) {
  throw UnsupportedStreamError("the stream uses " + tool + ", which is not supported");
}

void parse_range_extension(BitReader& r, Sps& sps) {
  sps.transform_skip_rotation_enabled = r.flag();
  sps.transform_skip_context_enabled = r.flag();
  sps.implicit_rdpcm_enabled = r.flag();
  sps.explicit_rdpcm_enabled = r.flag();
  if (r.flag()) unsupported("extended precision processing (extended_precision_processing_flag)");
  r.skip(1);  // intra_smoothing_disabled_flag
  sps.high_precision_offsets_enabled = r.flag();
  sps.persistent_rice_adaptation_enabled = r.flag();
  if (r.flag()) unsupported("CABAC bypass alignment (cabac_bypass_alignment_enabled_flag)");
}

// Screen content coding: a stream may carry the extension with every tool off.
void check_scc_extension(BitReader& r) {
  if (r.flag()) unsupported("intra block copy (sps_curr_pic_ref_enabled_flag)");
  if (r.flag()) unsupported("palette mode (palette_mode_enabled_flag)");
  if (r.u(2) != 0) unsupported("adaptive motion vector resolution (motion_vector_resolution_control_idc)");
}

void parse_extensions(BitReader& r, Sps& sps) {
  if (!r.flag()) return;  // sps_extension_present_flag
  const bool range = r.flag(), multilayer = r.flag(), three_d = r.flag(), scc = r.flag();
  r.skip(4);
  if (range) parse_range_extension(r, sps);
  if (multilayer) r.skip(1);  // inter_view_mv_vert_constraint_flag
  if (scc) {
    if (three_d) unsupported("the 3D extension together with screen content coding");
    check_scc_extension(r);
  }
}

void parse_picture_size(BitReader& r, Sps& sps, const codec::Limits& limits) {
  const std::int64_t width = r.ue(), height = r.ue();
  if (width == 0 || height == 0) throw InvalidBitstreamError("the picture size is zero");
  limits.check(&codec::Limits::max_width, width, "the width of the pictures");
  limits.check(&codec::Limits::max_height, height, "the height of the pictures");
  limits.check(&codec::Limits::max_luma_samples, width * height, "the number of luma samples of a picture");
  sps.width = static_cast<int>(width);
  sps.height = static_cast<int>(height);
  sps.window = {0, 0, sps.width, sps.height};
  if (!r.flag()) return;  // conformance_window_flag
  const int unit_x = sps.chroma_format_idc == 1 || sps.chroma_format_idc == 2 ? 2 : 1;
  const int unit_y = sps.chroma_format_idc == 1 ? 2 : 1;
  const auto edge = [&](int unit, int size) {
    return r.ue(static_cast<std::uint32_t>(size / unit), "conformance window offset") * unit;
  };
  const int left = edge(unit_x, sps.width), right = edge(unit_x, sps.width);
  const int top = edge(unit_y, sps.height), bottom = edge(unit_y, sps.height);
  sps.window = {left, top, sps.width - left - right, sps.height - top - bottom};
  if (sps.window.width <= 0 || sps.window.height <= 0) throw InvalidBitstreamError("the conformance window is empty");
}

void parse_block_sizes(BitReader& r, Sps& sps) {
  sps.log2_min_cb = r.ue(3, "log2_min_luma_coding_block_size_minus3") + 3;
  sps.log2_ctb = sps.log2_min_cb + r.ue(3, "log2_diff_max_min_luma_coding_block_size");
  sps.log2_min_tb = r.ue(3, "log2_min_luma_transform_block_size_minus2") + 2;
  sps.log2_max_tb = sps.log2_min_tb + r.ue(3, "log2_diff_max_min_luma_transform_block_size");
  if (sps.log2_ctb < 4 || sps.log2_ctb > 6) throw InvalidBitstreamError("the CTB size is not 16, 32 or 64");
  if (sps.log2_min_tb >= sps.log2_min_cb || sps.log2_max_tb > std::min(sps.log2_ctb, 5)) {
    throw InvalidBitstreamError("the transform block sizes do not fit the coding block sizes");
  }
  if ((sps.width | sps.height) & ((1 << sps.log2_min_cb) - 1)) {
    throw InvalidBitstreamError("the picture size is not a multiple of the smallest coding block");
  }
  const auto depth_limit = static_cast<std::uint32_t>(sps.log2_ctb - sps.log2_min_tb);
  sps.max_transform_hierarchy_depth_inter = r.ue(depth_limit, "max_transform_hierarchy_depth_inter");
  sps.max_transform_hierarchy_depth_intra = r.ue(depth_limit, "max_transform_hierarchy_depth_intra");
}

void parse_pcm(BitReader& r, Sps& sps) {
  sps.pcm_enabled = r.flag();
  if (!sps.pcm_enabled) return;
  sps.pcm_bit_depth_luma = static_cast<int>(r.u(4)) + 1;
  sps.pcm_bit_depth_chroma = static_cast<int>(r.u(4)) + 1;
  sps.log2_min_pcm_cb = r.ue(2, "log2_min_pcm_luma_coding_block_size_minus3") + 3;
  sps.log2_max_pcm_cb = sps.log2_min_pcm_cb + r.ue(2, "log2_diff_max_min_pcm_luma_coding_block_size");
  r.skip(1);  // pcm_loop_filter_disabled_flag
  if (sps.pcm_bit_depth_luma > sps.bit_depth_luma || sps.pcm_bit_depth_chroma > sps.bit_depth_chroma ||
      sps.log2_max_pcm_cb > std::min(sps.log2_ctb, 5)) {
    throw InvalidBitstreamError("the PCM parameters do not fit the sequence");
  }
}

}  // namespace

Sps parse_sps(std::span<const std::uint8_t> rbsp, const codec::Limits& limits) {
  BitReader r(rbsp);
  Sps sps;
  sps.vps_id = static_cast<int>(r.u(4));
  sps.max_sub_layers = static_cast<int>(r.u(3)) + 1;
  if (sps.max_sub_layers > 7) throw InvalidBitstreamError("sps_max_sub_layers_minus1 is 7");
  r.skip(1);  // sps_temporal_id_nesting_flag
  skip_profile_tier_level(r, sps.max_sub_layers);
  sps.id = r.ue(15, "sps_seq_parameter_set_id");
  sps.chroma_format_idc = r.ue(3, "chroma_format_idc");
  const bool separate_planes = sps.chroma_format_idc == 3 && r.flag();
  if (separate_planes) unsupported("separately coded colour planes (separate_colour_plane_flag)");
  sps.chroma_array_type = sps.chroma_format_idc;
  parse_picture_size(r, sps, limits);
  sps.bit_depth_luma = r.ue(8, "bit_depth_luma_minus8") + 8;
  sps.bit_depth_chroma = r.ue(8, "bit_depth_chroma_minus8") + 8;
  if (sps.bit_depth_luma > 12 || sps.bit_depth_chroma > 12) {
    unsupported("a bit depth of " + std::to_string(std::max(sps.bit_depth_luma, sps.bit_depth_chroma)));
  }
  sps.log2_max_poc_lsb = r.ue(12, "log2_max_pic_order_cnt_lsb_minus4") + 4;
  const bool ordering_info = r.flag();
  for (int i = ordering_info ? 0 : sps.max_sub_layers - 1; i < sps.max_sub_layers; ++i) {
    sps.max_dec_pic_buffering = r.ue(15, "sps_max_dec_pic_buffering_minus1") + 1;
    sps.max_num_reorder_pics = r.ue(15, "sps_max_num_reorder_pics");
    sps.max_latency_increase_plus1 = static_cast<int>(std::min(r.ue(), 0x7FFFFFFEu));
  }
  parse_block_sizes(r, sps);
  sps.scaling_list_enabled = r.flag();
  if (sps.scaling_list_enabled) {
    sps.scaling_factors =
        std::make_shared<const ScalingFactors>(r.flag() ? parse_scaling_list_data(r) : default_scaling_factors());
  }
  sps.amp_enabled = r.flag();
  sps.sao_enabled = r.flag();
  parse_pcm(r, sps);
  const int num_sets = r.ue(64, "num_short_term_ref_pic_sets");
  for (int i = 0; i < num_sets; ++i) {
    sps.short_term_ref_pic_sets.push_back(parse_short_term_ref_pic_set(r, sps.short_term_ref_pic_sets, false));
  }
  sps.long_term_ref_pics_present = r.flag();
  if (sps.long_term_ref_pics_present) {
    const int count = r.ue(32, "num_long_term_ref_pics_sps");
    for (int i = 0; i < count; ++i) {
      sps.lt_ref_pic_poc_lsb_sps.push_back(static_cast<int>(r.u(sps.log2_max_poc_lsb)));
      sps.used_by_curr_pic_lt_sps.push_back(r.flag());
    }
  }
  sps.temporal_mvp_enabled = r.flag();
  r.skip(1);  // strong_intra_smoothing_enabled_flag
  if (r.flag()) sps.vui = parse_vui(r, sps.max_sub_layers);
  parse_extensions(r, sps);
  return sps;
}

}  // namespace ove::hevc
