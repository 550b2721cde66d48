// Video, sequence and picture parameter sets (7.3.2), as far as syntax decoding and output order need them.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "bitstream/bit_reader.h"
#include "codec/format.h"
#include "codec/limits.h"
#include "hevc/scaling_list.h"

namespace ove::hevc {

// st_ref_pic_set() (7.3.7), derived values of 7.4.8
struct ShortTermRefPicSet {
  struct Entry {
    int delta_poc = 0;
    bool used = false;  // UsedByCurrPicS0 / S1
  };
  std::vector<Entry> negative;  // S0, nearest first
  std::vector<Entry> positive;  // S1, nearest first

  std::size_t num_delta_pocs() const { return negative.size() + positive.size(); }
};

struct Vui {
  std::uint32_t num_units_in_tick = 0, time_scale = 0;  // 0: no timing
};

struct Sps {
  std::vector<std::uint8_t> nal_unit;  // that it was parsed from
  int id = 0, vps_id = 0;
  int max_sub_layers = 1;
  int chroma_format_idc = 1;
  int chroma_array_type = 1;  // 0 when the colour planes are coded separately
  int width = 0, height = 0;  // coded, luma samples
  codec::Window window;       // conformance window
  int bit_depth_luma = 8, bit_depth_chroma = 8;
  int log2_max_poc_lsb = 4;
  // of the highest sub-layer
  int max_dec_pic_buffering = 1, max_num_reorder_pics = 0, max_latency_increase_plus1 = 0;
  int log2_min_cb = 3, log2_ctb = 4, log2_min_tb = 2, log2_max_tb = 5;
  int max_transform_hierarchy_depth_inter = 0, max_transform_hierarchy_depth_intra = 0;
  bool scaling_list_enabled = false;
  std::shared_ptr<const ScalingFactors> scaling_factors;  // set where scaling lists are enabled
  bool amp_enabled = false, sao_enabled = false, pcm_enabled = false;
  int pcm_bit_depth_luma = 8, pcm_bit_depth_chroma = 8, log2_min_pcm_cb = 3, log2_max_pcm_cb = 3;
  std::vector<ShortTermRefPicSet> short_term_ref_pic_sets;
  bool long_term_ref_pics_present = false;
  std::vector<int> lt_ref_pic_poc_lsb_sps;
  std::vector<bool> used_by_curr_pic_lt_sps;
  bool temporal_mvp_enabled = false;
  Vui vui;
  // sps_range_extension()
  bool transform_skip_rotation_enabled = false, transform_skip_context_enabled = false, implicit_rdpcm_enabled = false,
       explicit_rdpcm_enabled = false, high_precision_offsets_enabled = false,
       persistent_rice_adaptation_enabled = false;

  int ctb_size() const { return 1 << log2_ctb; }
  int width_in_ctbs() const { return (width + ctb_size() - 1) >> log2_ctb; }
  int height_in_ctbs() const { return (height + ctb_size() - 1) >> log2_ctb; }
  int size_in_ctbs() const { return width_in_ctbs() * height_in_ctbs(); }
};

struct Pps {
  std::vector<std::uint8_t> nal_unit;  // that it was parsed from
  int id = 0, sps_id = 0;
  bool dependent_slice_segments_enabled = false, output_flag_present = false, sign_data_hiding_enabled = false,
       cabac_init_present = false, transform_skip_enabled = false, cu_qp_delta_enabled = false,
       slice_chroma_qp_offsets_present = false, weighted_pred = false, weighted_bipred = false,
       transquant_bypass_enabled = false, tiles_enabled = false, entropy_coding_sync_enabled = false,
       loop_filter_across_slices_enabled = false, deblocking_filter_override_enabled = false,
       deblocking_filter_disabled = false, lists_modification_present = false, slice_header_extension_present = false;
  int num_extra_slice_header_bits = 0;
  std::array<int, 2> num_ref_idx_default_active{1, 1};
  int init_qp = 26;
  int diff_cu_qp_delta_depth = 0;
  bool uniform_spacing = true;
  int num_tile_columns = 1, num_tile_rows = 1;
  std::vector<int> tile_column_widths, tile_row_heights;  // in CTBs, all but the last; empty where spacing is uniform
  std::shared_ptr<const ScalingFactors> scaling_factors;  // null: the sequence's
  int log2_parallel_merge_level = 2;
  // pps_range_extension()
  int log2_max_transform_skip_size = 2;
  bool cross_component_prediction_enabled = false, chroma_qp_offset_list_enabled = false;
  int diff_cu_chroma_qp_offset_depth = 0, chroma_qp_offset_list_len = 0;
};

// 6.5.1: CTB order within tiles, for one PPS used with one SPS
struct TileLayout {
  std::vector<int> column_boundaries, row_boundaries;  // in CTBs, first 0, last the picture's size
  std::vector<int> rs_to_ts, ts_to_rs;
  std::vector<int> tile_id;  // by raster address
};

// Every parser takes the RBSP after the two bytes of NAL unit header and throws InvalidBitstreamError or
// UnsupportedStreamError.
Sps parse_sps(std::span<const std::uint8_t> rbsp, const codec::Limits& limits);
Pps parse_pps(std::span<const std::uint8_t> rbsp);

// st_ref_pic_set(idx); `previous` are the sets before it, `in_slice` says that it stands in a slice header.
ShortTermRefPicSet parse_short_term_ref_pic_set(BitReader& r, const std::vector<ShortTermRefPicSet>& previous,
                                                bool in_slice);

TileLayout make_tile_layout(const Sps& sps, const Pps& pps);

}  // namespace ove::hevc
