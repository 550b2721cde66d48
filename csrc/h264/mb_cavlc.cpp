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

SliceDataParser::CodedType SliceDataParser::read_mb_type(CavlcReader& reader) {
  const int inter_types = header_->type == SliceType::kI   ? 0
                          : header_->type == SliceType::kP ? kInterTypesP
                                                           : kInterTypesB;
  const int value = checked(reader.ue(), inter_types + kIntraTypes, "mb_type");
  return value < inter_types ? CodedType{value, false} : CodedType{value - inter_types, true};
}

int SliceDataParser::read_sub_mb_type(CavlcReader& reader) {
  return checked(reader.ue(), header_->type == SliceType::kP ? kSubTypesP : kSubTypesB, "sub_mb_type");
}

int SliceDataParser::read_coded_block_pattern(CavlcReader& reader) {
  const bool has_chroma = sps_.chroma_format_idc == 1 || sps_.chroma_format_idc == 2;
  return reader.coded_block_pattern(has_chroma, !mb_.intra());
}

bool SliceDataParser::read_transform_size_8x8_flag(CavlcReader& reader) { return reader.flag(); }

int SliceDataParser::read_mb_qp_delta(CavlcReader& reader) { return reader.se(); }

int SliceDataParser::read_intra_pred_mode(CavlcReader& reader) {
  return reader.flag() ? -1 : static_cast<int>(reader.u(3));
}

int SliceDataParser::read_intra_chroma_pred_mode(CavlcReader& reader) {
  return checked(reader.ue(), 4, "intra_chroma_pred_mode");
}

int SliceDataParser::read_ref_idx(CavlcReader& reader, int /*list*/, int /*quadrant*/, int count) {
  return checked(reader.te(count - 1), count, "ref_idx");
}

Mv SliceDataParser::read_mvd(CavlcReader& reader, int /*list*/, int /*x4*/, int /*y4*/) {
  const std::int16_t x = mvd_component(reader);
  return {x, mvd_component(reader)};
}

}  // namespace ove::h264
