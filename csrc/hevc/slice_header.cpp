#include "hevc/slice_header.h"

#include <algorithm>
#include <string>

namespace ove::hevc {

namespace {

void parse_long_term(BitReader& r, const Sps& sps, SliceHeader& h) {
  const auto num_sps = static_cast<std::uint32_t>(sps.lt_ref_pic_poc_lsb_sps.size());
  const int from_sps = num_sps > 0 ? r.ue(num_sps, "num_long_term_sps") : 0;
  const int own = r.ue(static_cast<std::uint32_t>(kMaxRefs), "num_long_term_pics");
  if (from_sps + own > kMaxRefs) throw InvalidBitstreamError("a slice has more than 16 long-term pictures");
  int delta_msb = 0;
  for (int i = 0; i < from_sps + own; ++i) {
    LongTermPicture picture;
    if (i < from_sps) {
      const std::uint32_t idx = r.u(ceil_log2(num_sps));
      if (idx >= num_sps) throw InvalidBitstreamError("lt_idx_sps is beyond num_long_term_ref_pics_sps");
      picture.poc = sps.lt_ref_pic_poc_lsb_sps[idx];
      picture.used = sps.used_by_curr_pic_lt_sps[idx];
    } else {
      picture.poc = static_cast<int>(r.u(sps.log2_max_poc_lsb));
      picture.used = r.flag();
    }
    picture.has_msb = r.flag();
    // 7-52: deltas add up within each of the two groups
    if (i == 0 || i == from_sps) delta_msb = 0;
    if (picture.has_msb) {
      delta_msb += r.ue(0xFFFFFF >> sps.log2_max_poc_lsb, "delta_poc_msb_cycle_lt");
      // 8.3.2: relative to the current picture, whose own msb the caller adds
      picture.poc -= (delta_msb << sps.log2_max_poc_lsb) + h.pic_order_cnt_lsb;
    }
    h.long_term_rps.push_back(picture);
  }
}

// 7.3.6.3
void parse_pred_weight_table(BitReader& r, const Sps& sps, SliceHeader& h) {
  h.has_weights = true;
  h.luma_log2_weight_denom = r.ue(7, "luma_log2_weight_denom");
  const bool chroma = sps.chroma_array_type != 0;
  if (chroma) r.se(-h.luma_log2_weight_denom, 7 - h.luma_log2_weight_denom, "delta_chroma_log2_weight_denom");
  const int half_range = 1 << (sps.high_precision_offsets_enabled ? sps.bit_depth_luma - 1 : 7);
  for (std::size_t list = 0; list < (h.type == SliceType::kB ? 2u : 1u); ++list) {
    const auto count = static_cast<std::size_t>(h.num_ref_idx_active[list]);
    std::array<bool, kMaxRefs> luma{}, has_chroma{};
    // The flags are absent only for references of another layer or of the current picture itself, which are refused.
    for (std::size_t i = 0; i < count; ++i) luma[i] = r.flag();
    for (std::size_t i = 0; chroma && i < count; ++i) has_chroma[i] = r.flag();
    for (std::size_t i = 0; i < count; ++i) {
      LumaWeight& w = h.luma_weights[list][i];
      w = {1 << h.luma_log2_weight_denom, 0};
      if (luma[i]) {
        w.weight += r.se(-128, 127, "delta_luma_weight");
        w.offset = r.se(-half_range, half_range - 1, "luma_offset");
      }
      for (int c = 0; has_chroma[i] && c < 2; ++c) r.se(), r.se();
    }
  }
}

void parse_ref_lists(BitReader& r, const Sps& sps, const Pps& pps, SliceHeader& h) {
  const std::size_t lists = h.type == SliceType::kB ? 2 : 1;
  h.num_ref_idx_active = {pps.num_ref_idx_default_active[0], lists == 2 ? pps.num_ref_idx_default_active[1] : 0};
  if (r.flag()) {  // num_ref_idx_active_override_flag
    for (std::size_t i = 0; i < lists; ++i) h.num_ref_idx_active[i] = r.ue(14, "num_ref_idx_active_minus1") + 1;
  }
  const int total = h.num_pic_total_curr();
  if (total == 0) throw InvalidBitstreamError("a P or B slice has no reference picture");
  if (pps.lists_modification_present && total > 1) {
    for (std::size_t i = 0; i < lists; ++i) {
      h.list_modification[i] = r.flag();
      if (!h.list_modification[i]) continue;
      for (int j = 0; j < h.num_ref_idx_active[i]; ++j) {
        const std::uint32_t entry = r.u(ceil_log2(static_cast<std::uint32_t>(total)));
        if (entry >= static_cast<std::uint32_t>(total))
          throw InvalidBitstreamError("list_entry is beyond NumPicTotalCurr");
        h.list_entry[i][static_cast<std::size_t>(j)] = static_cast<std::uint8_t>(entry);
      }
    }
  }
  if (h.type == SliceType::kB) h.mvd_l1_zero = r.flag();
  if (pps.cabac_init_present) h.cabac_init = r.flag();
  if (h.temporal_mvp_enabled) {
    if (h.type == SliceType::kB) h.collocated_from_l0 = r.flag();
    const int count = h.num_ref_idx_active[h.collocated_from_l0 ? 0 : 1];
    if (count > 1) h.collocated_ref_idx = r.ue(static_cast<std::uint32_t>(count - 1), "collocated_ref_idx");
  }
  if ((pps.weighted_pred && h.type == SliceType::kP) || (pps.weighted_bipred && h.type == SliceType::kB)) {
    parse_pred_weight_table(r, sps, h);
  }
  h.max_num_merge_cand = 5 - r.ue(4, "five_minus_max_num_merge_cand");
}

void parse_reference_pictures(BitReader& r, const Sps& sps, SliceHeader& h) {
  h.pic_order_cnt_lsb = static_cast<int>(r.u(sps.log2_max_poc_lsb));
  if (!r.flag()) {  // short_term_ref_pic_set_sps_flag
    h.short_term_rps = parse_short_term_ref_pic_set(r, sps.short_term_ref_pic_sets, true);
  } else {
    const auto count = static_cast<std::uint32_t>(sps.short_term_ref_pic_sets.size());
    const std::uint32_t idx = count > 1 ? r.u(ceil_log2(count)) : 0;
    if (idx >= count) throw InvalidBitstreamError("short_term_ref_pic_set_idx is beyond the sets of the sequence");
    h.short_term_rps = sps.short_term_ref_pic_sets[idx];
  }
  if (sps.long_term_ref_pics_present) parse_long_term(r, sps, h);
  if (sps.temporal_mvp_enabled) h.temporal_mvp_enabled = r.flag();
}

// From the type of an independent segment to its deblocking parameters.
void parse_independent(BitReader& r, NalUnitType nal_type, const Sps& sps, const Pps& pps, SliceHeader& h) {
  h.slice_address = h.segment_address;
  r.skip(static_cast<std::size_t>(pps.num_extra_slice_header_bits));
  h.type = static_cast<SliceType>(r.ue(2, "slice_type"));
  if (is_irap(nal_type) && !h.is_intra()) throw InvalidBitstreamError("a random access picture has an inter slice");
  if (pps.output_flag_present) h.pic_output = r.flag();
  if (!is_idr(nal_type)) parse_reference_pictures(r, sps, h);
  if (sps.sao_enabled) {
    h.sao_luma = r.flag();
    if (sps.chroma_array_type != 0) h.sao_chroma = r.flag();
  }
  if (!h.is_intra()) parse_ref_lists(r, sps, pps, h);
  h.qp = pps.init_qp + r.se(-87, 87, "slice_qp_delta");
  if (h.qp < -6 * (sps.bit_depth_luma - 8) || h.qp > 51) throw InvalidBitstreamError("SliceQpY is out of range");
  if (pps.slice_chroma_qp_offsets_present) r.se(), r.se();
  if (pps.chroma_qp_offset_list_enabled) h.cu_chroma_qp_offset_enabled = r.flag();
  const bool deblocking_override = pps.deblocking_filter_override_enabled && r.flag();
  h.deblocking_filter_disabled = pps.deblocking_filter_disabled;
  if (deblocking_override) {
    h.deblocking_filter_disabled = r.flag();
    if (!h.deblocking_filter_disabled) r.se(), r.se();
  }
  if (pps.loop_filter_across_slices_enabled && (h.sao_luma || h.sao_chroma || !h.deblocking_filter_disabled)) r.skip(1);
}

}  // namespace

int SliceHeader::num_pic_total_curr() const {
  const auto used = [](const auto& pictures) {
    return static_cast<int>(std::count_if(pictures.begin(), pictures.end(), [](const auto& p) { return p.used; }));
  };
  return used(short_term_rps.negative) + used(short_term_rps.positive) + used(long_term_rps);
}

SliceHeader parse_slice_header(BitReader& r, NalUnitType type, const SliceHeader* previous,
                               const ActivateSets& activate) {
  SliceHeader h;
  const bool first = r.flag();
  const bool no_output_of_prior_pics = is_irap(type) && r.flag();
  const int pps_id = r.ue(63, "slice_pic_parameter_set_id");
  const ActiveSets& sets = activate(pps_id);
  const Sps& sps = *sets.sps;
  const Pps& pps = *sets.pps;
  const bool dependent = !first && pps.dependent_slice_segments_enabled && r.flag();
  int address = 0;
  if (!first) {
    address = static_cast<int>(r.u(ceil_log2(static_cast<std::uint32_t>(sps.size_in_ctbs()))));
    if (address == 0 || address >= sps.size_in_ctbs())
      throw InvalidBitstreamError("slice_segment_address is out of range");
    if (!previous) throw InvalidBitstreamError("a picture does not begin with its first slice segment");
  }
  if (dependent) h = *previous;
  h.no_output_of_prior_pics = no_output_of_prior_pics;
  h.dependent = dependent;
  h.segment_address = address;
  if (!dependent) parse_independent(r, type, sps, pps, h);
  if (pps.tiles_enabled || pps.entropy_coding_sync_enabled) {
    const auto limit = static_cast<std::uint32_t>(sps.size_in_ctbs());
    const int count = r.ue(limit, "num_entry_point_offsets");
    // Substreams follow each other without a gap, so where they begin need not be told.
    if (count > 0) {
      const int length = r.ue(31, "offset_len_minus1") + 1;
      r.skip(static_cast<std::size_t>(count) * static_cast<std::size_t>(length));
    }
  }
  if (pps.slice_header_extension_present)
    r.skip(8u * static_cast<unsigned>(r.ue(256, "slice_segment_header_extension_length")));
  // byte_alignment()
  if (!r.flag()) throw InvalidBitstreamError("a slice header is not followed by its alignment bit");
  r.skip((8 - r.position() % 8) % 8);
  return h;
}

}  // namespace ove::hevc
