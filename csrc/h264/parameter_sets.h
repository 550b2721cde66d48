// Sequence and picture parameter sets (7.3.2.1, 7.3.2.2).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "codec/format.h"
#include "codec/limits.h"
#include "h264/scaling_list.h"

namespace ove::h264 {

// E.1.1, as far as it bears on output order and time
struct Vui {
  std::uint32_t num_units_in_tick = 0, time_scale = 0;
  bool has_bitstream_restriction = false;
  int max_num_reorder_frames = 0, max_dec_frame_buffering = 0;
};

struct Sps {
  std::vector<std::uint8_t> nal_unit;  // that it was parsed from
  int id = 0;
  int profile_idc = 0, level_idc = 0;
  bool constraint_set3 = false;
  int chroma_format_idc = 1;  // also ChromaArrayType, because separate colour planes are refused
  int bit_depth_luma = 8, bit_depth_chroma = 8;
  bool qpprime_y_zero_transform_bypass = false;
  bool has_scaling_matrix = false;
  ScalingFactors scaling_factors = flat_scaling_factors();
  int log2_max_frame_num = 4;
  int pic_order_cnt_type = 0;
  int log2_max_poc_lsb = 4;  // type 0
  // type 1
  bool delta_pic_order_always_zero = false;
  std::int32_t offset_for_non_ref_pic = 0, offset_for_top_to_bottom_field = 0;
  std::vector<std::int32_t> offset_for_ref_frame;
  int max_num_ref_frames = 0;
  bool gaps_in_frame_num_allowed = false;
  bool frame_mbs_only = true, mb_adaptive_frame_field = false, direct_8x8_inference = false;
  int width_in_mbs = 0, height_in_mbs = 0;  // of a frame
  codec::Window window;                     // shown of a frame
  Vui vui;

  int width() const { return width_in_mbs * 16; }
  int height() const { return height_in_mbs * 16; }
  int qp_bd_offset() const { return 6 * (bit_depth_luma - 8); }  // QpBdOffsetY
  int max_frame_num() const { return 1 << log2_max_frame_num; }
  int max_dpb_frames() const;      // A.3.1: MaxDpbFrames of the level, or max_dec_frame_buffering
  int max_reorder_frames() const;  // frames that may wait for one that is shown before them
};

struct Pps {
  std::vector<std::uint8_t> nal_unit;  // that it was parsed from
  int id = 0, sps_id = 0;
  bool entropy_coding_mode = false;  // CABAC
  bool bottom_field_pic_order_in_frame_present = false;
  std::array<int, 2> num_ref_idx_default_active{1, 1};
  bool weighted_pred = false;
  int weighted_bipred_idc = 0;
  int init_qp = 26;  // 26 + pic_init_qp_minus26
  bool deblocking_filter_control_present = false, constrained_intra_pred = false, redundant_pic_cnt_present = false;
  bool transform_8x8_mode = false;
  ScalingFactors scaling_factors = flat_scaling_factors();
};

// The ids at the start of a PPS. The rest of it is read when it is activated, because it depends on the SPS.
struct PpsIds {
  int id, sps_id;
};

// Every parser takes the RBSP after the NAL unit header and throws InvalidBitstreamError or UnsupportedStreamError.
Sps parse_sps(std::span<const std::uint8_t> rbsp, const codec::Limits& limits);
PpsIds parse_pps_ids(std::span<const std::uint8_t> rbsp);
Pps parse_pps(std::span<const std::uint8_t> rbsp, const Sps& sps);

}  // namespace ove::h264
