#include <algorithm>
#include <string>

#include "bitstream/bit_reader.h"
#include "hevc/parameter_sets.h"

namespace ove::hevc {

namespace {

// Levels allow 20 columns and 22 rows; one CTB a tile is the most that any picture within the limits can have.
constexpr std::uint32_t kMaxTiles = 1024;

[[noreturn]] void unsupported(const std::string& tool) {
  throw UnsupportedStreamError("the stream uses " + tool + ", which is not supported");
}

void parse_tiles(BitReader& r, Pps& pps) {
  pps.num_tile_columns = r.ue(kMaxTiles - 1, "num_tile_columns_minus1") + 1;
  pps.num_tile_rows = r.ue(kMaxTiles - 1, "num_tile_rows_minus1") + 1;
  pps.uniform_spacing = r.flag();
  if (!pps.uniform_spacing) {
    for (int i = 0; i + 1 < pps.num_tile_columns; ++i) {
      pps.tile_column_widths.push_back(r.ue(0xFFFF, "column_width_minus1") + 1);
    }
    for (int i = 0; i + 1 < pps.num_tile_rows; ++i) {
      pps.tile_row_heights.push_back(r.ue(0xFFFF, "row_height_minus1") + 1);
    }
  }
  r.skip(1);  // loop_filter_across_tiles_enabled_flag
}

void parse_range_extension(BitReader& r, Pps& pps) {
  if (pps.transform_skip_enabled) {
    pps.log2_max_transform_skip_size = r.ue(3, "log2_max_transform_skip_block_size_minus2") + 2;
  }
  pps.cross_component_prediction_enabled = r.flag();
  pps.chroma_qp_offset_list_enabled = r.flag();
  if (pps.chroma_qp_offset_list_enabled) {
    pps.diff_cu_chroma_qp_offset_depth = r.ue(3, "diff_cu_chroma_qp_offset_depth");
    pps.chroma_qp_offset_list_len = r.ue(5, "chroma_qp_offset_list_len_minus1") + 1;
    for (int i = 0; i < pps.chroma_qp_offset_list_len; ++i) r.se(), r.se();
  }
  r.ue(), r.ue();  // log2_sao_offset_scale
}

void check_scc_extension(BitReader& r) {
  if (r.flag()) unsupported("intra block copy (pps_curr_pic_ref_enabled_flag)");
  if (r.flag()) unsupported("the adaptive colour transform (residual_adaptive_colour_transform_enabled_flag)");
}

// Sum of the given sizes and a last one that takes the rest of `total`.
std::vector<int> boundaries(int total, int count, const std::vector<int>& sizes) {
  std::vector<int> bounds{0};
  for (int i = 0; i < count; ++i) {
    if (sizes.empty()) {
      bounds.push_back(static_cast<int>(std::int64_t{i + 1} * total / count));  // 6-3, 6-4
    } else {
      bounds.push_back(i + 1 < count ? bounds.back() + sizes[static_cast<std::size_t>(i)] : total);
    }
    if (bounds.back() <= bounds[bounds.size() - 2] || bounds.back() > total) {
      throw InvalidBitstreamError("the tiles do not fit the picture");
    }
  }
  return bounds;
}

}  // namespace

Pps parse_pps(std::span<const std::uint8_t> rbsp) {
  BitReader r(rbsp);
  Pps pps;
  pps.id = r.ue(63, "pps_pic_parameter_set_id");
  pps.sps_id = r.ue(15, "pps_seq_parameter_set_id");
  pps.dependent_slice_segments_enabled = r.flag();
  pps.output_flag_present = r.flag();
  pps.num_extra_slice_header_bits = static_cast<int>(r.u(3));
  pps.sign_data_hiding_enabled = r.flag();
  pps.cabac_init_present = r.flag();
  for (int& count : pps.num_ref_idx_default_active) count = r.ue(14, "num_ref_idx_default_active_minus1") + 1;
  pps.init_qp = 26 + r.se(-62, 25, "init_qp_minus26");
  r.skip(1);  // constrained_intra_pred_flag
  pps.transform_skip_enabled = r.flag();
  pps.cu_qp_delta_enabled = r.flag();
  if (pps.cu_qp_delta_enabled) pps.diff_cu_qp_delta_depth = r.ue(3, "diff_cu_qp_delta_depth");
  r.se(-12, 12, "pps_cb_qp_offset");
  r.se(-12, 12, "pps_cr_qp_offset");
  pps.slice_chroma_qp_offsets_present = r.flag();
  pps.weighted_pred = r.flag();
  pps.weighted_bipred = r.flag();
  pps.transquant_bypass_enabled = r.flag();
  pps.tiles_enabled = r.flag();
  pps.entropy_coding_sync_enabled = r.flag();
  if (pps.tiles_enabled) parse_tiles(r, pps);
  pps.loop_filter_across_slices_enabled = r.flag();
  if (r.flag()) {  // deblocking_filter_control_present_flag
    pps.deblocking_filter_override_enabled = r.flag();
    pps.deblocking_filter_disabled = r.flag();
    if (!pps.deblocking_filter_disabled) r.se(), r.se();
  }
  if (r.flag()) pps.scaling_factors = std::make_shared<const ScalingFactors>(parse_scaling_list_data(r));
  pps.lists_modification_present = r.flag();
  pps.log2_parallel_merge_level = r.ue(4, "log2_parallel_merge_level_minus2") + 2;
  pps.slice_header_extension_present = r.flag();
  if (r.flag()) {  // pps_extension_present_flag
    const bool range = r.flag(), multilayer = r.flag(), three_d = r.flag(), scc = r.flag();
    r.skip(4);
    if (range) parse_range_extension(r, pps);
    if (scc) {
      if (multilayer || three_d) unsupported("multi-layer extensions together with screen content coding");
      check_scc_extension(r);
    }
  }
  return pps;
}

TileLayout make_tile_layout(const Sps& sps, const Pps& pps) {
  const int width = sps.width_in_ctbs(), height = sps.height_in_ctbs();
  TileLayout layout;
  layout.column_boundaries = boundaries(width, pps.num_tile_columns, pps.tile_column_widths);
  layout.row_boundaries = boundaries(height, pps.num_tile_rows, pps.tile_row_heights);
  const auto count = static_cast<std::size_t>(width * height);
  layout.rs_to_ts.resize(count);
  layout.tile_id.resize(count);
  int tile = 0;
  for (std::size_t row = 0; row + 1 < layout.row_boundaries.size(); ++row) {
    for (std::size_t column = 0; column + 1 < layout.column_boundaries.size(); ++column, ++tile) {
      for (int y = layout.row_boundaries[row]; y < layout.row_boundaries[row + 1]; ++y) {
        for (int x = layout.column_boundaries[column]; x < layout.column_boundaries[column + 1]; ++x) {
          const int rs = y * width + x;
          layout.rs_to_ts[static_cast<std::size_t>(rs)] = static_cast<int>(layout.ts_to_rs.size());
          layout.ts_to_rs.push_back(rs);
          layout.tile_id[static_cast<std::size_t>(rs)] = tile;
        }
      }
    }
  }
  return layout;
}

}  // namespace ove::hevc
