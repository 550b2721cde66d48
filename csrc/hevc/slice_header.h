// Slice segment headers (7.3.6).
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

#include "bitstream/bit_reader.h"
#include "hevc/nal_unit_type.h"
#include "hevc/picture.h"

namespace ove::hevc {

struct LongTermPicture {
  int poc = 0;  // POC, or its low bits where has_msb is false
  bool has_msb = false, used = false;
};

constexpr int kMaxRefs = 16;

// One slice segment; a dependent one repeats the fields of the slice it continues.
struct SliceHeader {
  bool no_output_of_prior_pics = false, dependent = false;
  int segment_address = 0;  // CTB, raster scan
  int slice_address = 0;    // SliceAddrRs: address of the first segment of the slice
  SliceType type = SliceType::kI;
  bool pic_output = true;
  int pic_order_cnt_lsb = 0;
  ShortTermRefPicSet short_term_rps;
  std::vector<LongTermPicture> long_term_rps;
  bool temporal_mvp_enabled = false;
  bool sao_luma = false, sao_chroma = false;
  std::array<int, 2> num_ref_idx_active{0, 0};
  std::array<bool, 2> list_modification{false, false};
  std::array<std::array<std::uint8_t, kMaxRefs>, 2> list_entry{};
  bool mvd_l1_zero = false, cabac_init = false, collocated_from_l0 = true;
  int collocated_ref_idx = 0;
  bool has_weights = false;
  int luma_log2_weight_denom = 0;
  std::array<std::array<LumaWeight, kMaxRefs>, 2> luma_weights{};
  int max_num_merge_cand = 5;
  int qp = 26;  // SliceQpY
  bool cu_chroma_qp_offset_enabled = false;
  bool deblocking_filter_disabled = false;

  bool is_intra() const { return type == SliceType::kI; }
  int num_pic_total_curr() const;
};

// Gives the parameter sets in force, by slice_pic_parameter_set_id.
using ActivateSets = std::function<const ActiveSets&(int)>;

// Parses the header that follows the NAL unit header. `previous` is the last independent segment's of the same picture,
// null at the start of a picture.
SliceHeader parse_slice_header(BitReader& r, NalUnitType type, const SliceHeader* previous,
                               const ActivateSets& activate);

}  // namespace ove::hevc
