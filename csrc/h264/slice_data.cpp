#include "h264/slice_data.h"

#include <algorithm>
#include <string>

#include "h264/mb_cabac.h"
#include "h264/neighbours.h"

namespace ove::h264 {

namespace {

int size_in_mbs(const Sps& sps, Structure structure) {
  return sps.width_in_mbs * sps.height_in_mbs / (is_field(structure) ? 2 : 1);
}

}  // namespace

SliceDataParser::SliceDataParser(const ActiveSets& sets, CodedPicture& picture)
    : sps_(*sets.sps),
      picture_(picture),
      out_(*picture.buffers),
      residual_(picture.residual.get()),
      mbaff_(picture.structure == Structure::kMbaff),
      field_kind_(is_field(picture.structure) ? static_cast<int>(parity(picture.structure)) + 1 : 0),
      width_in_mbs_(sps_.width_in_mbs),
      size_in_mbs_(size_in_mbs(sps_, picture.structure)),
      qp_bd_offset_(sps_.qp_bd_offset()),
      records_(static_cast<std::size_t>(width_in_mbs_) * (mbaff_ ? 4 : 2)) {
  if (sps_.qpprime_y_zero_transform_bypass) intra_modes_.resize(static_cast<std::size_t>(size_in_mbs_) * 16, -1);
  picture.mb_types.resize(static_cast<std::size_t>(size_in_mbs_));
  none_.cbp = 0x0F;  // 9.3.3.1.1.4
}

void SliceDataParser::parse(const SliceContext& slice, SliceMotion& motion) {
  slice_ = &slice;
  header_ = &slice.header;
  pps_ = slice.pps;
  motion_ = &motion;
  qp_ = header_->qp;
  last_qp_delta_ = 0;
  field_ = false;
  bottom_ = false;
  field_scan_ = field_kind_ != 0;
  prepare_scaling();
  const std::int64_t first = std::int64_t{header_->first_mb} * (mbaff_ ? 2 : 1);
  if (first >= size_in_mbs_) throw InvalidBitstreamError("first_mb_in_slice is beyond the picture");
  mb_addr_ = static_cast<int>(first);
  const MbPosition at = mb_position(mb_addr_, width_in_mbs_, mbaff_);
  mb_x_ = at.x;
  mb_y_ = at.y;
  if (slice.slice_idx == 0 && header_->type != SliceType::kI) {  // mostly the only slice
    motion.macroblocks.reserve(static_cast<std::size_t>(size_in_mbs_));
    motion.mvd.reserve(static_cast<std::size_t>(size_in_mbs_));
  }
  start_row();
  if (pps_->entropy_coding_mode) {
    parse_cabac();
  } else {
    parse_cavlc();
  }
}

// 6.4.9: the neighbours of a macroblock of a frame or field
[[gnu::always_inline]] inline void SliceDataParser::find_neighbours() {
  const auto width = static_cast<std::size_t>(width_in_mbs_), x = static_cast<std::size_t>(mb_x_);
  record_ = &records_[(mb_y_ & 1 ? width : 0) + x];
  const bool has_left = mb_x_ > 0 && out_.slice_idx[mb_index_ - 1] == slice_->slice_idx;
  const bool has_above = mb_y_ > 0 && out_.slice_idx[mb_index_ - width] == slice_->slice_idx;
  left_.fill(has_left ? record_ - 1 : &none_);
  above_ = has_above ? &records_[(mb_y_ & 1 ? 0 : width) + x] : &none_;
  if (!intra_modes_.empty()) {
    left_index_.fill(has_left ? static_cast<std::ptrdiff_t>(mb_index_) - 1 : -1);
    above_index_ = has_above ? static_cast<std::ptrdiff_t>(mb_index_ - width) : -1;
  }
}

// mb_x_ and mb_y_ are set, bottom_ as well.
[[gnu::always_inline]] inline void SliceDataParser::start_macroblock() {
  if (mb_addr_ >= size_in_mbs_)
    throw InvalidBitstreamError("slice data continues after the last macroblock of the picture");
  mb_index_ =
      static_cast<std::size_t>(mb_y_) * static_cast<std::size_t>(width_in_mbs_) + static_cast<std::size_t>(mb_x_);
  if (mbaff_) {
    if (!bottom_) start_pair();
    find_neighbours_mbaff();
    return;
  }
  std::uint16_t& slice_idx = out_.slice_idx[mb_index_];
  if (slice_idx != PictureBuffers::kNoSlice) throw InvalidBitstreamError("two slices hold the same macroblock");
  slice_idx = slice_->slice_idx;
  ++parsed_;
  find_neighbours();
}

// In bands of macroblock pairs, which suit what MBAFF frames leave behind.
void SliceDataParser::start_row() {
  if (residual_) residual_->clear_above(8 * (mb_y_ / 2 + 1));
}

[[gnu::always_inline]] inline void SliceDataParser::next_macroblock() {
  ++mb_addr_;
  if (mbaff_) {
    bottom_ = !bottom_;
    mb_y_ += bottom_ ? 1 : -1;
    if (bottom_) return;
  }
  if (++mb_x_ == width_in_mbs_) {
    mb_x_ = 0;
    mb_y_ += mbaff_ ? 2 : 1;
    start_row();
  }
}

// In place, because a copy would wait for the parts that it is made of.
InterMacroblock& SliceDataParser::append_macroblock() {
  InterMacroblock& out = motion_->macroblocks.emplace_back();
  out.mb_addr = static_cast<std::uint32_t>(mb_addr_);
  out.type = mb_.type;
  out.field = field_;
  out.ref_idx = {{{-1, -1, -1, -1}, {-1, -1, -1, -1}}};
  return out;
}

[[gnu::always_inline]] inline void SliceDataParser::skip_macroblock() {
  mb_.type = MbType::kSkip;
  mb_.transform_8x8 = false;
  last_qp_delta_ = 0;
  *record_ = MbRecord{};
  record_->flags = field_ ? MbRecord::kField : 0;
  append_macroblock();
}

// `position`: the bit behind the macroblock
[[gnu::always_inline]] inline void SliceDataParser::finish_macroblock(std::size_t position) {
  const std::size_t at = mb_index_;
  picture_.mb_types[at] = static_cast<std::uint8_t>(static_cast<int>(mb_.type) | (mb_.transform_8x8 ? 0x80 : 0));
  out_.qp[at] = static_cast<std::int8_t>(mb_.type == MbType::kPcm ? 0 : qp_);
  std::uint8_t log2_size = 4;
  switch (mb_.type) {
    case MbType::kIntra4x4:
      log2_size = 2;
      break;
    case MbType::kIntra8x8:
    case MbType::k16x8:
    case MbType::k8x16:
      log2_size = 3;
      break;
    case MbType::k8x8:
      log2_size = 3;
      for (const SubMbType sub : mb_.sub) {
        if (sub != SubMbType::kSub8x8 && sub != SubMbType::kSubDirect) log2_size = 2;
      }
      break;
    default:
      break;
  }
  out_.log2_size[at] = log2_size;
  out_.skip[at] = mb_.type == MbType::kSkip;
  if (!out_.field.empty()) {
    out_.field[at] = static_cast<std::uint8_t>(mbaff_ && field_ ? (bottom_ ? 2 : 1) : field_kind_);
  }
  out_.bits[at] = static_cast<std::int32_t>(position - mb_begin_);
  mb_begin_ = position;
  if (mb_.intra()) {
    const std::ptrdiff_t stride = std::ptrdiff_t{width_in_mbs_} * 4;
    auto* mv = out_.mv.data() + mb_y_ * 4 * stride + mb_x_ * 4;
    for (int y = 0; y < 4; ++y, mv += stride) std::fill_n(mv, 4, std::array<Mv, 2>{});
  }
}

// 7.3.4 with entropy_coding_mode_flag 1
void SliceDataParser::parse_cabac() {
  const std::span<const std::uint8_t> rbsp = slice_->rbsp;
  const std::size_t begin = (header_->data_begin + 7) / 8;
  if (begin > rbsp.size()) throw InvalidBitstreamError("a slice has no data");
  cabac_data_ = rbsp.subspan(begin);
  cabac_begin_ = 0;
  Cabac cabac(cabac_data_);
  mb_begin_ = 0;
  const bool intra_slice = header_->type == SliceType::kI;
  init_contexts(header_->type, header_->cabac_init_idc, header_->qp, sps_.chroma_format_idc == 3, contexts_);
  bool previous_skipped = false;
  const bool whole_bytes = picture_.detail.bits == codec::BitsRule::kWholeBytes;
  const auto byte_position = [&] { return cabac_begin_ / 8 + cabac.bytes_behind_offset(); };
  for (bool more = true; more; next_macroblock()) {
    start_macroblock();
    const std::size_t byte_begin = whole_bytes ? byte_position() : 0;
    const bool skipped = !intra_slice && read_mb_skip_flag(cabac);
    if (skipped) {
      skip_macroblock();
    } else {
      if (mbaff_ && (!bottom_ || previous_skipped)) set_field(read_mb_field_decoding_flag(cabac));
      cabac_ = cabac;
      macroblock_layer<Cabac>();
      cabac = cabac_;
    }
    previous_skipped = skipped;
    const std::size_t byte_end = whole_bytes ? byte_position() : 0;
    if (!mbaff_ || bottom_) more = cabac.terminate() == 0;
    // The last bit that a slice takes is rbsp_stop_one_bit. It is left out from the start on, because the last
    // macroblock may take no bit at all.
    const std::size_t position = cabac_begin_ + cabac.position() - 1;
    if (position + (more ? 1 : 0) > cabac_data_.size() * 8) {
      throw InvalidBitstreamError("slice data ends inside a macroblock");
    }
    finish_macroblock(position);
    if (whole_bytes) out_.bits[mb_index_] = static_cast<std::int32_t>(8 * (byte_end - byte_begin));
  }
  finish_slice(mb_begin_);
}

// 7.3.4 with entropy_coding_mode_flag 0. The bits of mb_skip_run count with the first macroblock that follows.
void SliceDataParser::parse_cavlc() {
  cavlc_ = CavlcReader(slice_->rbsp, header_->data_begin);
  const std::size_t size = slice_->rbsp.size() * 8;
  mb_begin_ = header_->data_begin;
  const auto finish = [&] {
    if (cavlc_.position() > size) throw InvalidBitstreamError("slice data ends inside a macroblock");
    finish_macroblock(cavlc_.position());
    next_macroblock();
  };
  for (bool more = true; more; more = cavlc_.more_data()) {
    bool previous_skipped = false;
    if (header_->type != SliceType::kI) {
      const std::uint32_t run = cavlc_.ue();
      if (run > static_cast<std::uint32_t>(size_in_mbs_ - mb_addr_))
        throw InvalidBitstreamError("mb_skip_run continues after the last macroblock of the picture");
      for (std::uint32_t i = 0; i < run; ++i) {
        start_macroblock();
        skip_macroblock();
        finish();
      }
      previous_skipped = run > 0;
      if (previous_skipped && !cavlc_.more_data()) break;
    }
    start_macroblock();
    if (mbaff_ && (!bottom_ || previous_skipped)) set_field(cavlc_.flag() != 0);
    macroblock_layer<CavlcReader>();
    finish();
  }
  if (bottom_) throw InvalidBitstreamError("slice data ends inside a macroblock pair");
  finish_slice(mb_begin_ - header_->data_begin);
}

void SliceDataParser::finish_slice(std::size_t bits) {
  picture_.slices[slice_->slice_idx].data_bits = static_cast<std::int64_t>(bits);
}

// 7.4.4: a pair whose mb_field_decoding_flag does not come, or not yet, is of the kind of its neighbour.
void SliceDataParser::start_pair() {
  const auto width = static_cast<std::size_t>(width_in_mbs_);
  for (const std::size_t index : {mb_index_, mb_index_ + width}) {
    std::uint16_t& slice_idx = out_.slice_idx[index];
    if (slice_idx != PictureBuffers::kNoSlice) throw InvalidBitstreamError("two slices hold the same macroblock");
    slice_idx = slice_->slice_idx;
  }
  parsed_ += 2;
  const MbAvailability available = mb_availability(out_.slice_idx, mb_x_, mb_y_, width_in_mbs_, true);
  field_ = available.a ? out_.field[mb_index_ - 1] != 0 : available.b ? out_.field[mb_index_ - 2 * width] != 0 : false;
  field_scan_ = field_;
}

// 6.4.10, 6.4.12.2: the neighbours of a macroblock of a pair
void SliceDataParser::find_neighbours_mbaff() {
  const auto width = static_cast<std::size_t>(width_in_mbs_), x = static_cast<std::size_t>(mb_x_);
  const std::size_t top_index = mb_index_ - (bottom_ ? width : 0);
  const int pair_y = mb_y_ >> 1;
  MbRecord* const pair = &records_[((pair_y & 1 ? width : 0) + x) * 2];
  record_ = pair + (bottom_ ? 1 : 0);
  const MbAvailability available = mb_availability(out_.slice_idx, mb_x_, pair_y * 2, width_in_mbs_, true);
  if (available.a) {
    const MbRecord* const left = pair - 2;
    const bool left_field = left->has(MbRecord::kField);
    for (std::size_t r = 0; r < 4; ++r) {
      const PairRow row = mbaff_left(field_, bottom_, left_field, static_cast<int>(4 * r));
      left_[r] = left + row.bottom;
      left_row_[r] = static_cast<std::uint8_t>(row.y >> 2);
      left_index_[r] = static_cast<std::ptrdiff_t>(top_index + (row.bottom ? width : 0)) - 1;
    }
  } else {
    left_.fill(&none_);
    left_index_.fill(-1);
  }
  if (bottom_ && !field_) {
    above_ = pair;
    above_index_ = static_cast<std::ptrdiff_t>(top_index);
  } else if (available.b) {
    const MbRecord* const above = &records_[((pair_y & 1 ? 0 : width) + x) * 2];
    const PairRow row = mbaff_above(field_, bottom_, above->has(MbRecord::kField));
    above_ = above + row.bottom;
    above_index_ = static_cast<std::ptrdiff_t>(top_index - (row.bottom ? width : 2 * width));
  } else {
    above_ = &none_;
    above_index_ = -1;
  }
}

// mb_field_decoding_flag, which holds for a skipped top macroblock too
void SliceDataParser::set_field(bool field) {
  if (bottom_ && field != field_) {
    out_.field[mb_index_ - static_cast<std::size_t>(width_in_mbs_)] = field ? 1 : 0;
    MbRecord& top = *(record_ - 1);
    top.flags = static_cast<std::uint8_t>(field ? top.flags | MbRecord::kField : top.flags & ~MbRecord::kField);
    motion_->macroblocks.back().field = field;
  }
  field_ = field;
  field_scan_ = field;
  find_neighbours_mbaff();
}

}  // namespace ove::h264
