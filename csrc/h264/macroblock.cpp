// 7.3.5 macroblock_layer(), 7.3.5.1 mb_pred(), 7.3.5.2 sub_mb_pred()
#include <algorithm>
#include <cstdlib>

#include "h264/mb_cabac.h"
#include "h264/scan.h"
#include "h264/slice_data.h"

namespace ove::h264 {

namespace {

// Lists of the partitions of mb_type 4 to 21 of Table 7-14, by (mb_type - 4) / 2
constexpr std::uint8_t kPartLists[9][2] = {{1, 1}, {2, 2}, {1, 2}, {2, 1}, {1, 3}, {2, 3}, {3, 1}, {3, 2}, {3, 3}};

struct SubMb {
  SubMbType type;
  std::uint8_t lists;
};

// Table 7-17
constexpr SubMb kSubMbP[4] = {
    {SubMbType::kSub8x8, 1}, {SubMbType::kSub8x4, 1}, {SubMbType::kSub4x8, 1}, {SubMbType::kSub4x4, 1}};
// Table 7-18
constexpr SubMb kSubMbB[13] = {{SubMbType::kSubDirect, 0}, {SubMbType::kSub8x8, 1}, {SubMbType::kSub8x8, 2},
                               {SubMbType::kSub8x8, 3},    {SubMbType::kSub8x4, 1}, {SubMbType::kSub4x8, 1},
                               {SubMbType::kSub8x4, 2},    {SubMbType::kSub4x8, 2}, {SubMbType::kSub8x4, 3},
                               {SubMbType::kSub4x8, 3},    {SubMbType::kSub4x4, 1}, {SubMbType::kSub4x4, 2},
                               {SubMbType::kSub4x4, 3}};

std::uint8_t magnitude(int mvd) { return static_cast<std::uint8_t>(std::min(std::abs(mvd), MbRecord::AbsMvd::kMax)); }

}  // namespace

template <class Reader>
void SliceDataParser::macroblock_layer() {
  Reader reader = this->reader<Reader>();
  mb_.reset();
  set_type(read_mb_type(reader));
  if (!intra_modes_.empty()) {
    std::fill_n(intra_modes_.begin() + static_cast<std::ptrdiff_t>(mb_index_ * 16), 16,
                static_cast<std::int8_t>(mb_.intra() ? 2 : -1));
  }
  if (mb_.type == MbType::kPcm) {
    this->reader<Reader>() = reader;
    return pcm_samples<std::is_same_v<Reader, Cabac>>();
  }

  const bool transform_8x8_mode = pps_->transform_8x8_mode;
  if (mb_.intra()) {
    if (mb_.type == MbType::kIntra4x4 && transform_8x8_mode) {
      mb_.transform_8x8 = read_transform_size_8x8_flag(reader);
      if (mb_.transform_8x8) mb_.type = MbType::kIntra8x8;
    }
    intra_prediction(reader);
  } else {
    if (mb_.type == MbType::k8x8) sub_mb_types(reader);
    this->reader<Reader>() = reader;
    inter_prediction<Reader>();
    reader = this->reader<Reader>();
  }
  if (mb_.type != MbType::kIntra16x16) {
    mb_.cbp = read_coded_block_pattern(reader);
    if ((mb_.cbp & 15) && transform_8x8_mode && !mb_.intra() && may_be_transform_8x8()) {
      mb_.transform_8x8 = read_transform_size_8x8_flag(reader);
    }
  }
  if (!mb_.intra()) motion_->macroblocks.back().transform_8x8 = mb_.transform_8x8;
  keep_record();
  const bool has_residual = mb_.cbp != 0 || mb_.type == MbType::kIntra16x16;
  last_qp_delta_ = has_residual ? read_mb_qp_delta(reader) : 0;
  this->reader<Reader>() = reader;
  if (!has_residual) return;
  if (last_qp_delta_ != 0) change_qp(last_qp_delta_);
  residual<std::is_same_v<Reader, Cabac>>();
}
template void SliceDataParser::macroblock_layer<CavlcReader>();
template void SliceDataParser::macroblock_layer<Cabac>();

void SliceDataParser::set_type(CodedType coded) {
  if (!coded.intra) return set_inter_type(coded.value);
  // Table 7-11
  if (coded.value == 0) {
    mb_.type = MbType::kIntra4x4;
  } else if (coded.value == 25) {
    mb_.type = MbType::kPcm;
  } else {
    const int type = coded.value - 1;
    mb_.type = MbType::kIntra16x16;
    mb_.intra16x16_mode = type % 4;
    mb_.cbp = type / 4 % 3 << 4 | (type >= 12 ? 15 : 0);
    // Chroma cannot be coded where there is none, or where it is coded as luma.
    if ((mb_.cbp & 0x30) && (sps_.chroma_format_idc == 0 || sps_.chroma_format_idc == 3))
      throw InvalidBitstreamError("mb_type has coefficients of chroma, which this format codes otherwise");
  }
}

void SliceDataParser::set_inter_type(int value) {
  if (header_->type == SliceType::kP) {  // Table 7-13
    constexpr MbType kTypes[5] = {MbType::k16x16, MbType::k16x8, MbType::k8x16, MbType::k8x8, MbType::k8x8};
    mb_.type = kTypes[value];
    mb_.ref_idx_is_0 = value == 4;
    mb_.lists.fill(1);
  } else if (value == 0) {  // Table 7-14 from here on
    mb_.type = MbType::kDirect;
  } else if (value == 22) {
    mb_.type = MbType::k8x8;
  } else if (value < 4) {
    mb_.type = MbType::k16x16;
    mb_.lists.fill(static_cast<std::uint8_t>(value));
  } else {
    const std::uint8_t first = kPartLists[(value - 4) / 2][0], second = kPartLists[(value - 4) / 2][1];
    if (value % 2 == 0) {
      mb_.type = MbType::k16x8;
      mb_.lists = {first, first, second, second};
    } else {
      mb_.type = MbType::k8x16;
      mb_.lists = {first, second, first, second};
    }
  }
}

// 7.3.5: samples that are coded as they are; the entropy decoder starts anew behind them
template <bool kCabac>
void SliceDataParser::pcm_samples() {
  constexpr int kChromaSamples[4] = {0, 64, 128, 256};
  const std::size_t bits = static_cast<std::size_t>(256 * sps_.bit_depth_luma) +
                           static_cast<std::size_t>(2 * kChromaSamples[sps_.chroma_format_idc] * sps_.bit_depth_chroma);
  if constexpr (kCabac) {
    const std::size_t begin = (cabac_begin_ + cabac_.position() + 7) / 8 + bits / 8;
    if (begin > cabac_data_.size()) throw InvalidBitstreamError("slice data ends inside an I_PCM macroblock");
    cabac_ = Cabac(cabac_data_.subspan(begin));
    cabac_begin_ = begin * 8;
  } else {
    cavlc_.skip((8 - cavlc_.position() % 8) % 8 + bits);
  }
  last_qp_delta_ = 0;
  mb_.cbp = 0x2F;
  keep_record();
  record_->flags |= MbRecord::kPcm;
  record_->coded_dc = 7;
  for (MbRecord::Coefficients& plane : record_->coefficients) {
    plane.bottom.fill(16);
    plane.right.fill(16);
  }
}

template <class Reader>
[[gnu::always_inline]] inline void SliceDataParser::intra_prediction(Reader& reader) {
  if (mb_.type != MbType::kIntra16x16) {
    const int size4 = mb_.type == MbType::kIntra8x8 ? 2 : 1;
    for (int block = 0; block < 16 / (size4 * size4); ++block) {
      const int mode = read_intra_pred_mode(reader);
      if (!intra_modes_.empty()) derive_intra_mode(block, size4, mode);
    }
  }
  if (sps_.chroma_format_idc == 1 || sps_.chroma_format_idc == 2) {
    mb_.chroma_mode = read_intra_chroma_pred_mode(reader) != 0;
  }
}

template <class Reader>
[[gnu::always_inline]] inline void SliceDataParser::sub_mb_types(Reader& reader) {
  for (std::size_t i = 0; i < 4; ++i) {
    const int type = read_sub_mb_type(reader);
    const SubMb& sub = header_->type == SliceType::kP ? kSubMbP[type] : kSubMbB[type];
    mb_.sub[i] = sub.type;
    mb_.lists[i] = sub.lists;
  }
}

// ref_idx and mvd of all partitions
template <class Reader>
void SliceDataParser::inter_prediction() {
  InterMacroblock& out = append_macroblock();
  out.sub = mb_.sub;
  if (mb_.type == MbType::kDirect) return;
  if constexpr (std::is_same_v<Reader, Cabac>) gather_motion();
  switch (mb_.type) {
    case MbType::k16x16:
      return partitions<Reader, 2, 2>(out);
    case MbType::k16x8:
      return partitions<Reader, 2, 1>(out);
    case MbType::k8x16:
      return partitions<Reader, 1, 2>(out);
    default:
      return partitions<Reader, 1, 1>(out);
  }
}

// Of partitions of kWidth x kHeight quadrants
template <class Reader, int kWidth, int kHeight>
void SliceDataParser::partitions(InterMacroblock& out) {
  constexpr bool kCabac = std::is_same_v<Reader, Cabac>;
  Reader reader = this->reader<Reader>();
  const int num_lists = header_->type == SliceType::kB ? 2 : 1;
  for (int list = 0; list < num_lists; ++list) {
    const auto l = static_cast<std::size_t>(list);
    const int count = num_ref_idx(l);
    const bool coded = count > 1 && !mb_.ref_idx_is_0;
    for (int quadrant = 0; quadrant < 4; quadrant += (kWidth == 2 ? 2 * kHeight : 1)) {
      if (kHeight == 2 && quadrant >= 2) break;
      const int x = quadrant & 1, y = quadrant >> 1;
      if (!(mb_.lists[static_cast<std::size_t>(quadrant)] >> list & 1)) continue;
      const int ref_idx = coded ? read_ref_idx(reader, list, quadrant, count) : 0;
      codec::fill_block(&out.ref_idx[l][static_cast<std::size_t>(quadrant)], 2, kWidth, kHeight,
                        static_cast<std::int8_t>(ref_idx));
      if (kCabac && ref_idx > 0) {
        codec::fill_block(&ref_idx_grid_[l][static_cast<std::size_t>(y * 4 + x + 5)], 4, kWidth, kHeight,
                          std::uint8_t{1});
      }
    }
  }
  for (int list = 0; list < num_lists; ++list) {
    for (int quadrant = 0; quadrant < 4; quadrant += (kWidth == 2 ? 2 * kHeight : 1)) {
      if (kHeight == 2 && quadrant >= 2) break;
      if (!(mb_.lists[static_cast<std::size_t>(quadrant)] >> list & 1)) continue;
      const SubMbType sub = mb_.sub[static_cast<std::size_t>(quadrant)];
      const int width = kWidth * kHeight > 1 ? 2 * kWidth : width4(sub);
      const int height = kWidth * kHeight > 1 ? 2 * kHeight : height4(sub);
      const int x0 = (quadrant & 1) * 2, y0 = quadrant & 2;
      for (int y4 = y0; y4 < y0 + 2 * kHeight; y4 += height) {
        for (int x4 = x0; x4 < x0 + 2 * kWidth; x4 += width) {
          const Mv mvd = read_mvd(reader, list, x4, y4);
          motion_->mvd.push_back(mvd);
          if constexpr (kCabac) {
            codec::fill_block(mvd_grid_[static_cast<std::size_t>(list)].data() + grid_at(x4, y4), kGridRow, width,
                              height, MbRecord::AbsMvd{magnitude(mvd.x), magnitude(mvd.y)});
          }
        }
      }
    }
  }
  this->reader<Reader>() = reader;
}

// Contexts of ref_idx and mvd: what the neighbours have, and nothing yet in the macroblock itself (9.3.3.1.1.6 and
// 9.3.3.1.1.7)
void SliceDataParser::gather_motion() {
  using AbsMvd = MbRecord::AbsMvd;
  const std::size_t num_lists = header_->type == SliceType::kB ? 2 : 1;
  for (std::size_t list = 0; list < num_lists; ++list) {
    Grid<AbsMvd>& mvd = mvd_grid_[list];
    std::fill(mvd.begin() + kGridRow, mvd.end(), AbsMvd{});
    std::copy_n(above_->mvd_bottom[list].begin(), 4, mvd.begin() + grid_at(0, -1));
    for (std::size_t r = 0; r < 4; ++r) {
      mvd[grid_at(-1, static_cast<int>(r))] = left_[r]->mvd_right[list][left_row_[r]];
    }
    auto& refs = ref_idx_grid_[list];
    refs.fill(0);
    // In a frame macroblock, the index of a field one counts half.
    const auto shift = [&](const MbRecord& from) { return mbaff_ && !field_ && from.has(MbRecord::kField) ? 4 : 0; };
    const int above = above_->ref_idx[list] >> shift(*above_);
    refs[1] = above >> 2 & 1;
    refs[2] = above >> 3 & 1;
    for (std::size_t r = 0; r < 2; ++r) {
      const MbRecord& left = *left_[2 * r];
      refs[4 + 4 * r] = left.ref_idx[list] >> shift(left) >> ((left_row_[2 * r] >> 1) * 2 + 1) & 1;
    }
    if (!mbaff_) continue;
    const auto scale = [&](const MbRecord& from, AbsMvd& value) {
      const bool from_field = from.has(MbRecord::kField);
      if (from_field && !field_) value.y = static_cast<std::uint8_t>(value.y * 2);
      if (!from_field && field_) value.y = static_cast<std::uint8_t>(value.y / 2);
    };
    for (int i = 0; i < 4; ++i) {
      scale(*above_, mvd[grid_at(i, -1)]);
      scale(*left_[static_cast<std::size_t>(i)], mvd[grid_at(-1, i)]);
    }
  }
}

// By mb_qp_delta
void SliceDataParser::change_qp(int delta) {
  const int half = 26 + qp_bd_offset_ / 2;
  if (delta < -half || delta >= half) throw InvalidBitstreamError("mb_qp_delta is out of range");
  const int range = 52 + qp_bd_offset_;
  qp_ = (qp_ + delta + qp_bd_offset_ + range) % range - qp_bd_offset_;
}

// Whether transform_size_8x8_flag follows in an inter macroblock with luma coefficients
bool SliceDataParser::may_be_transform_8x8() const {
  if (mb_.type == MbType::kDirect) return sps_.direct_8x8_inference;
  if (mb_.type != MbType::k8x8) return true;
  return std::all_of(mb_.sub.begin(), mb_.sub.end(), [&](SubMbType sub) {
    return sub == SubMbType::kSub8x8 || (sub == SubMbType::kSubDirect && sps_.direct_8x8_inference);
  });
}

// All but the coefficients, which residual() keeps
void SliceDataParser::keep_record() {
  MbRecord& record = *record_;
  record = MbRecord{};
  record.flags = static_cast<std::uint8_t>(
      MbRecord::kNotSkip | (mb_.type == MbType::kDirect ? 0 : MbRecord::kNotDirect) |
      (mb_.type == MbType::kIntra4x4 || mb_.type == MbType::kIntra8x8 ? 0 : MbRecord::kNotIntraNxN) |
      (mb_.transform_8x8 ? MbRecord::kTransform8x8 : 0) | (field_ ? MbRecord::kField : 0) |
      (mb_.chroma_mode ? MbRecord::kChromaMode : 0));
  record.cbp = static_cast<std::uint8_t>(mb_.cbp);
  if (mb_.intra() || mb_.type == MbType::kDirect || !pps_->entropy_coding_mode) return;
  const std::size_t num_lists = header_->type == SliceType::kB ? 2 : 1;
  const auto& ref_idx = motion_->macroblocks.back().ref_idx;
  for (std::size_t list = 0; list < num_lists; ++list) {
    const Grid<MbRecord::AbsMvd>& mvd = mvd_grid_[list];
    std::copy_n(mvd.begin() + grid_at(0, 3), 4, record.mvd_bottom[list].begin());
    for (int y = 0; y < 4; ++y) record.mvd_right[list][static_cast<std::size_t>(y)] = mvd[grid_at(3, y)];
    if (num_ref_idx(list) == 1) continue;
    int bits = 0;
    for (std::size_t i = 0; i < 4; ++i) bits |= (ref_idx[list][i] > 0) << i | (ref_idx[list][i] > 1) << (i + 4);
    record.ref_idx[list] = static_cast<std::uint8_t>(bits);
  }
}

}  // namespace ove::h264
