#include <algorithm>

#include "hevc/slice_data.h"

namespace ove::hevc {

SliceDataParser::SliceDataParser(const Sps& sps, const Pps& pps, const TileLayout& tiles, PictureBuffers& buffers,
                                 ResidualBuffer* residual, codec::BitsRule bits_rule)
    : sps_(sps),
      pps_(pps),
      tiles_(tiles),
      out_(buffers),
      residual_(residual),
      bits_rule_(bits_rule),
      min_cb_stride_(sps.width >> sps.log2_min_cb),
      log2_min_cu_qp_delta_size_(sps.log2_ctb - pps.diff_cu_qp_delta_depth),
      log2_min_cu_chroma_qp_offset_size_(sps.log2_ctb - pps.diff_cu_chroma_qp_offset_depth),
      slice_address_(static_cast<std::size_t>(sps.size_in_ctbs()), -1) {}

// 7.3.8.1 slice_segment_data()
void SliceDataParser::parse(const SliceHeader& header, std::uint16_t slice_idx, std::span<const std::uint8_t> data,
                            std::vector<PredictionUnit>& units) {
  header_ = &header;
  data_ = data;
  units_ = &units;
  slice_idx_ = slice_idx;
  substream_begin_ = 0;
  ctu_begin_ = 0;
  cabac_ = Cabac(data);
  const int count = sps_.size_in_ctbs();
  int ts = tiles_.rs_to_ts[static_cast<std::size_t>(header.segment_address)];
  for (bool first = true;; first = false, ++ts) {
    if (ts >= count) throw InvalidBitstreamError("slice data continues after the last CTB of the picture");
    const int rs = tiles_.ts_to_rs[static_cast<std::size_t>(ts)];
    if (slice_address_[static_cast<std::size_t>(rs)] >= 0)
      throw InvalidBitstreamError("two slice segments hold the same CTB");
    slice_address_[static_cast<std::size_t>(rs)] = header.slice_address;
    start_ctu(rs, first);
    if (header.sao_luma || header.sao_chroma) parse_sao();
    if (bits_rule_ == codec::BitsRule::kWholeBytes) byte_begin_ = byte_position();
    coding_quadtree(ctb_x_, ctb_y_, sps_.log2_ctb, 0);
    ++ctbs_parsed_;
    if (finish_ctu(rs)) break;
  }
}

bool SliceDataParser::same_slice_and_tile(int rs, int other) const {
  const auto a = static_cast<std::size_t>(rs), b = static_cast<std::size_t>(other);
  return slice_address_[a] == slice_address_[b] && tiles_.tile_id[a] == tiles_.tile_id[b];
}

// 9.3.1: initialisation and synchronisation of the entropy decoder, 8.6.1 and 8.4.2: what the CTU may see of its
// neighbours
void SliceDataParser::start_ctu(int rs, bool first_in_segment) {
  const int width = sps_.width_in_ctbs();
  const int column = rs % width, row = rs / width;
  ctb_x_ = column << sps_.log2_ctb;
  ctb_y_ = row << sps_.log2_ctb;
  left_available_ = column > 0 && same_slice_and_tile(rs, rs - 1);
  up_available_ = row > 0 && same_slice_and_tile(rs, rs - width);
  out_.slice_idx[static_cast<std::size_t>(rs)] = slice_idx_;

  const int ts = tiles_.rs_to_ts[static_cast<std::size_t>(rs)];
  const auto tile = [&](int address) { return tiles_.tile_id[static_cast<std::size_t>(address)]; };
  const bool first_in_tile = ts == 0 || tile(tiles_.ts_to_rs[static_cast<std::size_t>(ts - 1)]) != tile(rs);
  const bool first_in_row = pps_.entropy_coding_sync_enabled && (column == 0 || tile(rs - 1) != tile(rs));
  if (first_in_segment || first_in_tile || first_in_row) {
    if (!first_in_segment) {
      // The previous CTU ended a substream with its byte_alignment().
      cabac_ = Cabac(data_.subspan(substream_begin_));
    }
    const int above_right = rs - width + 1;
    if (!first_in_tile && first_in_row && row > 0 && column + 1 < width && same_slice_and_tile(rs, above_right) &&
        wpp_state_ctb_ == above_right) {
      state_ = wpp_state_;
    } else if (!first_in_tile && !first_in_row && header_->dependent) {
      if (!has_segment_end_state_)
        throw InvalidBitstreamError("a dependent slice segment does not follow a slice segment");
      state_ = segment_end_state_;
    } else {
      state_ = initial_entropy_state(header_->type, header_->cabac_init, header_->qp);
    }
  }
  // 8.6.1: the first quantization group of a slice, a tile or, with wavefronts, a CTB row predicts from SliceQpY.
  if (first_in_tile || first_in_row || (first_in_segment && !header_->dependent)) last_qp_ = header_->qp;
  if (!pps_.cu_qp_delta_enabled) start_quantization_group(ctb_x_, ctb_y_);

  spread_ = 0;
  top_modes_.fill(1);  // 8.4.2: a candidate above the CTB counts as INTRA_DC
  if (!left_available_) left_modes_.fill(1);
}

// Returns whether the slice segment ends here.
bool SliceDataParser::finish_ctu(int rs) {
  const int width = sps_.width_in_ctbs();
  const int column = rs % width;
  const auto tile = [&](int address) { return tiles_.tile_id[static_cast<std::size_t>(address)]; };
  // 9.3.2.4: the state after the second CTB of a row (of a tile) is kept for the row below.
  if (pps_.entropy_coding_sync_enabled && column > 0 && tile(rs - 1) == tile(rs) &&
      (column == 1 || tile(rs - 2) != tile(rs))) {
    wpp_state_ = state_;
    wpp_state_ctb_ = rs;
  }
  const bool end_of_segment = cabac_.terminate();
  const bool whole_bytes = bits_rule_ == codec::BitsRule::kWholeBytes;
  const std::size_t byte_end = whole_bytes ? byte_position() : 0;
  std::size_t position = substream_begin_ * 8 + cabac_.position();
  if (position > data_.size() * 8) throw InvalidBitstreamError("slice data ends inside a CTU");
  if (end_of_segment) {
    position = data_.size() * 8;
    if (pps_.dependent_slice_segments_enabled) {
      segment_end_state_ = state_;
      has_segment_end_state_ = true;
    }
  } else {
    const auto next_ts = static_cast<std::size_t>(tiles_.rs_to_ts[static_cast<std::size_t>(rs)]) + 1;
    const int next = next_ts < tiles_.ts_to_rs.size() ? tiles_.ts_to_rs[next_ts] : -1;
    const bool new_tile = next >= 0 && tile(next) != tile(rs);
    const bool new_row =
        next >= 0 && pps_.entropy_coding_sync_enabled && (next % width == 0 || tile(next - 1) != tile(next));
    if (new_tile || new_row) {
      if (!cabac_.terminate()) throw InvalidBitstreamError("end_of_subset_one_bit is 0");
      substream_begin_ += (cabac_.position() + 7) / 8;
      position = substream_begin_ * 8;
      if (substream_begin_ > data_.size()) throw InvalidBitstreamError("slice data ends before its last substream");
    }
  }
  const std::size_t bits = whole_bytes ? 8 * (byte_end - byte_begin_) : position - ctu_begin_;
  out_.bits[static_cast<std::size_t>(rs)] = static_cast<std::int32_t>(bits);
  if (!out_.block_bits.empty()) spread_bits(bits - spread_, ctb_x_, ctb_y_, 1 << sps_.log2_ctb);
  ctu_begin_ = position;
  return end_of_segment;
}

// Into block_bits, evenly over the part of a square that lies in the picture.
void SliceDataParser::spread_bits(std::size_t bits, int x, int y, int size) {
  const int stride = sps_.width >> 2;
  const int width = (std::min(x + size, sps_.width) - x) >> 2, height = (std::min(y + size, sps_.height) - y) >> 2;
  const float share = static_cast<float>(bits) / static_cast<float>(width * height);
  float* row = out_.block_bits.data() + static_cast<std::ptrdiff_t>(y >> 2) * stride + (x >> 2);
  for (int i = 0; i < height; ++i, row += stride) {
    for (int j = 0; j < width; ++j) row[j] += share;
  }
  spread_ += bits;
}

// 7.3.8.3 sao(); the values are read and dropped
void SliceDataParser::parse_sao() {
  if (left_available_ && decision(kCtxSaoMerge)) return;
  if (up_available_ && decision(kCtxSaoMerge)) return;
  if (header_->sao_luma) parse_sao_component(0);
  if (header_->sao_chroma) parse_sao_component(1);
}

// Luma (0), or Cb and Cr, which share type and class (1)
void SliceDataParser::parse_sao_component(int c_idx) {
  if (!decision(kCtxSaoTypeIdx)) return;
  const bool edge = cabac_.bypass();
  const int depth = std::min(c_idx == 0 ? sps_.bit_depth_luma : sps_.bit_depth_chroma, 10);
  const int max_offset = (1 << (depth - 5)) - 1;
  for (int component = 0; component < (c_idx == 0 ? 1 : 2); ++component) {
    int nonzero = 0;
    for (int i = 0; i < 4; ++i) {
      int offset = 0;
      while (offset < max_offset && cabac_.bypass()) ++offset;
      nonzero += offset != 0;
    }
    if (!edge) {
      cabac_.bypass_bits(nonzero);  // sao_offset_sign
      cabac_.bypass_bits(5);        // sao_band_position
    } else if (component == 0) {
      cabac_.bypass_bits(2);  // sao_eo_class
    }
  }
}

// 9.3.3.5, k-th order Exp-Golomb
int SliceDataParser::exp_golomb_bypass(int k) {
  int value = 0;
  while (cabac_.bypass()) {
    value += 1 << k;
    if (++k > 30) throw InvalidBitstreamError("an Exp-Golomb code of slice data is too long");
  }
  for (; k > 16; k -= 16) value += static_cast<int>(cabac_.bypass_bits(16)) << (k - 16);
  return value + static_cast<int>(cabac_.bypass_bits(k));
}

}  // namespace ove::hevc
