// Slice headers (7.3.3).
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

#include "bitstream/bit_reader.h"
#include "h264/nal_unit.h"
#include "h264/picture.h"

namespace ove::h264 {

constexpr int kMaxRefs = 32;

// modification_of_pic_nums_idc and the value that follows it (7.3.3.1)
struct ListModification {
  int idc;
  std::uint32_t value;  // abs_diff_pic_num_minus1 or long_term_pic_num
};

// memory_management_control_operation and its values (7.3.3.3)
struct MarkingOperation {
  int operation;
  std::uint32_t difference_of_pic_nums_minus1 = 0;
  std::uint32_t long_term_pic_num = 0;
  std::uint32_t long_term_frame_idx = 0;  // or max_long_term_frame_idx_plus1
};

struct SliceHeader {
  NalHeader nal{};
  int pps_id = 0;
  int first_mb = 0;  // first_mb_in_slice: in MBAFF frames of a macroblock pair
  SliceType type = SliceType::kI;
  int frame_num = 0;
  bool mbaff = false;  // MbaffFrameFlag
  Structure structure = Structure::kFrame;
  int idr_pic_id = 0;
  int pic_order_cnt_lsb = 0;
  std::int32_t delta_pic_order_cnt_bottom = 0;
  std::array<std::int32_t, 2> delta_pic_order_cnt{};
  int redundant_pic_cnt = 0;
  bool direct_spatial_mv_pred = false;
  std::array<int, 2> num_ref_idx_active{0, 0};  // twice as many in field macroblocks of MBAFF frames
  std::array<std::vector<ListModification>, 2> modifications;
  bool has_weights = false;
  int luma_log2_weight_denom = 0;
  std::array<std::array<LumaWeight, kMaxRefs>, 2> luma_weights{};
  // dec_ref_pic_marking()
  bool no_output_of_prior_pics = false, long_term_reference = false, adaptive_marking = false;
  std::vector<MarkingOperation> marking;
  int cabac_init_idc = 0;
  int qp = 26;                 // SliceQPY
  std::size_t data_begin = 0;  // bit of slice_data(), counted from the end of the NAL unit header

  bool is_intra() const { return type == SliceType::kI; }
  bool is_field() const { return structure == Structure::kTopField || structure == Structure::kBottomField; }
  bool resets_order() const;  // memory_management_control_operation 5
};

// The parameter sets of a slice.
struct SliceSets {
  const Sps& sps;
  const Pps& pps;
};
// Gives those in force, by pic_parameter_set_id.
using ActivateSets = std::function<SliceSets(int)>;

// Parses the header that follows the NAL unit header.
SliceHeader parse_slice_header(BitReader& r, NalHeader nal, const ActivateSets& activate);

// 7.4.1.2.4: whether a slice begins another primary coded picture than that of the slice before it. A change of
// pic_parameter_set_id does not count, because encoders let slices of one picture differ in it.
bool begins_picture(const SliceHeader& header, const SliceHeader& previous, const Sps& sps);

}  // namespace ove::h264
