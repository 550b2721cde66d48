#include <algorithm>
#include <string>

#include "bitstream/bit_reader.h"
#include "h264/parameter_sets.h"

namespace ove::h264 {

namespace {

[[noreturn]] void unsupported(const std::string& tool) {
  throw UnsupportedStreamError("the stream uses " + tool + ", which is not supported");
}

// Profiles whose SPS tells the chroma format and what follows it.
bool has_chroma_format(int profile_idc) {
  constexpr std::array kProfiles{100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135};
  return std::find(kProfiles.begin(), kProfiles.end(), profile_idc) != kProfiles.end();
}

void parse_chroma_format(BitReader& r, Sps& sps) {
  sps.chroma_format_idc = r.ue(3, "chroma_format_idc");
  if (sps.chroma_format_idc == 3 && r.flag()) {
    unsupported("separately coded colour planes (separate_colour_plane_flag)");
  }
  sps.bit_depth_luma = 8 + r.ue(6, "bit_depth_luma_minus8");
  sps.bit_depth_chroma = 8 + r.ue(6, "bit_depth_chroma_minus8");
  sps.qpprime_y_zero_transform_bypass = r.flag();
  sps.has_scaling_matrix = r.flag();
  if (sps.has_scaling_matrix) {
    sps.scaling_factors = parse_scaling_lists(r, sps.chroma_format_idc == 3 ? 6 : 2, nullptr);
  }
}

void parse_pic_order_cnt(BitReader& r, Sps& sps) {
  sps.pic_order_cnt_type = r.ue(2, "pic_order_cnt_type");
  if (sps.pic_order_cnt_type == 0) {
    sps.log2_max_poc_lsb = 4 + r.ue(12, "log2_max_pic_order_cnt_lsb_minus4");
  } else if (sps.pic_order_cnt_type == 1) {
    sps.delta_pic_order_always_zero = r.flag();
    sps.offset_for_non_ref_pic = r.se();
    sps.offset_for_top_to_bottom_field = r.se();
    const int count = r.ue(255, "num_ref_frames_in_pic_order_cnt_cycle");
    for (int i = 0; i < count; ++i) sps.offset_for_ref_frame.push_back(r.se());
  }
}

void parse_picture_size(BitReader& r, Sps& sps, const codec::Limits& limits) {
  const std::int64_t width = (std::int64_t{r.ue()} + 1) * 16;
  const std::int64_t map_units = std::int64_t{r.ue()} + 1;
  sps.frame_mbs_only = r.flag();
  const std::int64_t height = map_units * (sps.frame_mbs_only ? 16 : 32);
  limits.check(&codec::Limits::max_width, width, "the width of the pictures");
  limits.check(&codec::Limits::max_height, height, "the height of the pictures");
  limits.check(&codec::Limits::max_luma_samples, width * height, "the number of luma samples of a picture");
  sps.width_in_mbs = static_cast<int>(width / 16);
  sps.height_in_mbs = static_cast<int>(height / 16);
  if (!sps.frame_mbs_only) sps.mb_adaptive_frame_field = r.flag();
  sps.direct_8x8_inference = r.flag();
  if (!sps.frame_mbs_only && !sps.direct_8x8_inference) {
    throw InvalidBitstreamError("direct_8x8_inference_flag is 0 in a stream with fields");
  }
}

void parse_cropping(BitReader& r, Sps& sps) {
  sps.window = {0, 0, sps.width(), sps.height()};
  if (!r.flag()) return;  // frame_cropping_flag
  const int unit_x = sps.chroma_format_idc == 1 || sps.chroma_format_idc == 2 ? 2 : 1;
  const int unit_y = (sps.chroma_format_idc == 1 ? 2 : 1) * (sps.frame_mbs_only ? 1 : 2);
  const auto edge = [&](int unit, int size) {
    return r.ue(static_cast<std::uint32_t>(size / unit), "a frame cropping offset") * unit;
  };
  const int left = edge(unit_x, sps.width()), right = edge(unit_x, sps.width());
  const int top = edge(unit_y, sps.height()), bottom = edge(unit_y, sps.height());
  sps.window = {left, top, sps.width() - left - right, sps.height() - top - bottom};
  if (sps.window.width <= 0 || sps.window.height <= 0) throw InvalidBitstreamError("the cropping window is empty");
}

// E.1.2
void skip_hrd_parameters(BitReader& r) {
  const int count = r.ue(31, "cpb_cnt_minus1") + 1;
  r.skip(4 + 4);
  for (int i = 0; i < count; ++i) {
    r.ue(), r.ue();
    r.skip(1);
  }
  r.skip(5 * 4);
}

// E.1.1
Vui parse_vui(BitReader& r) {
  Vui vui;
  if (r.flag() && r.u(8) == 255) r.skip(32);  // aspect_ratio_idc Extended_SAR
  if (r.flag()) r.skip(1);                    // overscan
  if (r.flag()) {                             // video_signal_type
    r.skip(3 + 1);
    if (r.flag()) r.skip(24);
  }
  if (r.flag()) r.ue(), r.ue();  // chroma_loc
  if (r.flag()) {                // timing_info_present_flag
    vui.num_units_in_tick = r.u(32);
    vui.time_scale = r.u(32);
    r.skip(1);
  }
  const bool nal_hrd = r.flag();
  if (nal_hrd) skip_hrd_parameters(r);
  const bool vcl_hrd = r.flag();
  if (vcl_hrd) skip_hrd_parameters(r);
  if (nal_hrd || vcl_hrd) r.skip(1);  // low_delay_hrd_flag
  r.skip(1);                          // pic_struct_present_flag
  vui.has_bitstream_restriction = r.flag();
  if (vui.has_bitstream_restriction) {
    r.skip(1);
    r.ue(), r.ue(), r.ue(), r.ue();
    vui.max_num_reorder_frames = r.ue(16, "max_num_reorder_frames");
    vui.max_dec_frame_buffering = r.ue(16, "max_dec_frame_buffering");
  }
  return vui;
}

// Table A-1: MaxDpbMbs
int max_dpb_macroblocks(const Sps& sps) {
  switch (sps.level_idc) {
    case 9:
    case 10:
      return 396;
    case 11:
      // Level 1b of the older profiles
      return sps.constraint_set3 && !has_chroma_format(sps.profile_idc) ? 396 : 900;
    case 12:
    case 13:
    case 20:
      return 2'376;
    case 21:
      return 4'752;
    case 22:
    case 30:
      return 8'100;
    case 31:
      return 18'000;
    case 32:
      return 20'480;
    case 40:
    case 41:
      return 32'768;
    case 42:
      return 34'816;
    case 50:
      return 110'400;
    case 51:
    case 52:
      return 184'320;
    default:
      return 696'320;
  }
}

}  // namespace

int Sps::max_dpb_frames() const {
  int frames = std::min(max_dpb_macroblocks(*this) / (width_in_mbs * height_in_mbs), 16);
  if (vui.has_bitstream_restriction) frames = vui.max_dec_frame_buffering;
  return std::max({frames, max_num_ref_frames, 1});
}

int Sps::max_reorder_frames() const {
  if (vui.has_bitstream_restriction) return vui.max_num_reorder_frames;
  return pic_order_cnt_type == 2 ? 0 : max_dpb_frames();
}

Sps parse_sps(std::span<const std::uint8_t> rbsp, const codec::Limits& limits) {
  BitReader r(rbsp);
  Sps sps;
  sps.profile_idc = static_cast<int>(r.u(8));
  r.skip(3);
  sps.constraint_set3 = r.flag();
  r.skip(4);
  sps.level_idc = static_cast<int>(r.u(8));
  sps.id = r.ue(31, "seq_parameter_set_id");
  if (has_chroma_format(sps.profile_idc)) parse_chroma_format(r, sps);
  sps.log2_max_frame_num = 4 + r.ue(12, "log2_max_frame_num_minus4");
  parse_pic_order_cnt(r, sps);
  sps.max_num_ref_frames = r.ue(16, "max_num_ref_frames");
  sps.gaps_in_frame_num_allowed = r.flag();
  parse_picture_size(r, sps, limits);
  parse_cropping(r, sps);
  if (r.flag()) sps.vui = parse_vui(r);
  return sps;
}

}  // namespace ove::h264
