// The syntax elements of the macroblock layer in CAVLC (9.1).
#include <limits>
#include <string>

#include "common/error.h"
#include "h264/slice_data.h"

namespace ove::h264 {

namespace {

constexpr int kIntraTypes = 26;                 // Table 7-11
constexpr int kInterTypesP = 5;                 // Table 7-13
constexpr int kInterTypesB = 23;                // Table 7-14
constexpr int kSubTypesP = 4, kSubTypesB = 13;  // Tables 7-17 and 7-18

int checked(std::uint32_t value, int count, const char* name) {
  if (value >= static_cast<std::uint32_t>(count)) {
    throw InvalidBitstreamError(std::string(name) + " is " + std::to_string(value) + ", the largest is " +
                                std::to_string(count - 1));
  }
  return static_cast<int>(value);
}

std::int16_t mvd_component(CavlcReader& r) {
  const std::int32_t value = r.se();
  if (value < std::numeric_limits<std::int16_t>::min() || value > std::numeric_limits<std::int16_t>::max()) {
    throw InvalidBitstreamError("mvd is out of range: " + std::to_string(value));
  }
  return static_cast<std::int16_t>(value);
}

}  // namespace

SliceDataParser::CodedType SliceDataParser::cavlc_mb_type() {
  const int inter_types = header_->type == SliceType::kI   ? 0
                          : header_->type == SliceType::kP ? kInterTypesP
                                                           : kInterTypesB;
  const int value = checked(cavlc_.ue(), inter_types + kIntraTypes, "mb_type");
  return value < inter_types ? CodedType{value, false} : CodedType{value - inter_types, true};
}

int SliceDataParser::cavlc_sub_mb_type() {
  return checked(cavlc_.ue(), header_->type == SliceType::kP ? kSubTypesP : kSubTypesB, "sub_mb_type");
}

int SliceDataParser::cavlc_coded_block_pattern() {
  const bool has_chroma = sps_.chroma_format_idc == 1 || sps_.chroma_format_idc == 2;
  return cavlc_.coded_block_pattern(has_chroma, !mb_.intra());
}

int SliceDataParser::cavlc_mb_qp_delta() { return cavlc_.se(); }

int SliceDataParser::cavlc_intra_pred_mode() { return cavlc_.flag() ? -1 : static_cast<int>(cavlc_.u(3)); }

int SliceDataParser::cavlc_intra_chroma_pred_mode() { return checked(cavlc_.ue(), 4, "intra_chroma_pred_mode"); }

int SliceDataParser::cavlc_ref_idx(int count) { return checked(cavlc_.te(count - 1), count, "ref_idx"); }

Mv SliceDataParser::cavlc_mvd() {
  const std::int16_t x = mvd_component(cavlc_);
  return {x, mvd_component(cavlc_)};
}

}  // namespace ove::h264
