#include "h264/poc.h"

#include <algorithm>
#include <limits>

namespace ove::h264 {

std::array<int, 2> OrderCounter::begin(const SliceHeader& header, const Sps& sps) {
  std::array<std::int64_t, 2> poc;
  if (sps.pic_order_cnt_type == 0) {
    poc = count_by_lsb(header, sps);
  } else {
    update_frame_num_offset(header, sps);
    poc = sps.pic_order_cnt_type == 1 ? count_by_cycle(header, sps) : count_by_decoding(header);
  }
  if (header.is_field()) poc.fill(poc[parity(header.structure)]);
  std::array<int, 2> result;
  for (std::size_t i = 0; i < 2; ++i) {
    if (poc[i] < std::numeric_limits<std::int32_t>::min() || poc[i] > std::numeric_limits<std::int32_t>::max()) {
      throw InvalidBitstreamError("a picture order count does not fit 32 bits");
    }
    result[i] = static_cast<int>(poc[i]);
  }
  return result;
}

void OrderCounter::complete(const SliceHeader& header, std::array<int, 2> poc) {
  const bool reset = header.resets_order();
  if (header.nal.ref_idc != 0) {
    prev_msb_ = reset ? 0 : msb_;
    prev_lsb_ = !reset ? header.pic_order_cnt_lsb : header.structure == Structure::kBottomField ? 0 : poc[0];
  }
  prev_frame_num_ = reset ? 0 : header.frame_num;
  prev_offset_ = reset ? 0 : offset_;
}

// 8.2.1.1
std::array<std::int64_t, 2> OrderCounter::count_by_lsb(const SliceHeader& header, const Sps& sps) {
  if (header.nal.is_idr()) prev_msb_ = prev_lsb_ = 0;
  const std::int64_t lsb = header.pic_order_cnt_lsb, max_lsb = std::int64_t{1} << sps.log2_max_poc_lsb;
  msb_ = prev_msb_;
  if (lsb < prev_lsb_ && prev_lsb_ - lsb >= max_lsb / 2) {
    msb_ += max_lsb;
  } else if (lsb > prev_lsb_ && lsb - prev_lsb_ > max_lsb / 2) {
    msb_ -= max_lsb;
  }
  return {msb_ + lsb, msb_ + lsb + header.delta_pic_order_cnt_bottom};
}

void OrderCounter::update_frame_num_offset(const SliceHeader& header, const Sps& sps) {
  if (header.nal.is_idr()) {
    offset_ = 0;
  } else {
    offset_ = prev_offset_ + (prev_frame_num_ > header.frame_num ? sps.max_frame_num() : 0);
  }
}

// 8.2.1.2
std::array<std::int64_t, 2> OrderCounter::count_by_cycle(const SliceHeader& header, const Sps& sps) const {
  const std::int64_t cycle = std::ssize(sps.offset_for_ref_frame);
  std::int64_t number = cycle == 0 ? 0 : offset_ + header.frame_num;  // absFrameNum
  if (header.nal.ref_idc == 0 && number > 0) --number;
  std::int64_t expected = 0;
  if (number > 0) {
    std::int64_t delta = 0;  // ExpectedDeltaPerPicOrderCntCycle
    for (const std::int64_t offset : sps.offset_for_ref_frame) delta += offset;
    expected = (number - 1) / cycle * delta;
    for (std::int64_t i = 0; i <= (number - 1) % cycle; ++i) {
      expected += sps.offset_for_ref_frame[static_cast<std::size_t>(i)];
    }
  }
  if (header.nal.ref_idc == 0) expected += sps.offset_for_non_ref_pic;
  const std::int64_t top = expected + header.delta_pic_order_cnt[0];
  const std::int64_t bottom = top + sps.offset_for_top_to_bottom_field;
  return {top, header.is_field() ? bottom : bottom + header.delta_pic_order_cnt[1]};
}

// 8.2.1.3
std::array<std::int64_t, 2> OrderCounter::count_by_decoding(const SliceHeader& header) const {
  const std::int64_t number = 2 * (offset_ + header.frame_num);
  const std::int64_t poc = header.nal.is_idr() ? 0 : number - (header.nal.ref_idc == 0);
  return {poc, poc};
}

std::array<int, 2> reset_order_counts(std::array<int, 2> poc, Structure structure) {
  if (is_field(structure)) return {0, 0};
  const std::int64_t least = std::min(poc[0], poc[1]);
  for (int& count : poc) count = static_cast<int>(std::min<std::int64_t>(count - least, 0x7FFFFFFF));
  return poc;
}

}  // namespace ove::h264
