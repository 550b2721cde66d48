// NAL units of H.264 (7.3.1, 7.4.1).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace ove::h264 {

constexpr std::size_t kNalHeaderSize = 1;

// Table 7-1: the types that decoding looks at. Every other type is skipped.
enum class NalUnitType : std::uint8_t {
  kSlice = 1,
  kPartitionA = 2,
  kPartitionB = 3,
  kPartitionC = 4,
  kIdrSlice = 5,
  kSei = 6,
  kSps = 7,
  kPps = 8,
  kAccessUnitDelimiter = 9,
  kEndOfSequence = 10,
  kEndOfStream = 11,
};

struct NalHeader {
  NalUnitType type;
  int ref_idc;

  bool is_idr() const { return type == NalUnitType::kIdrSlice; }
};

// What follows asks NAL units for their header.

// Whether later pictures may need it: parameter sets, ends of sequence and stream.
constexpr bool outlasts_picture(std::span<const std::uint8_t> nal_unit) {
  if (nal_unit.empty()) return false;
  const auto type = static_cast<NalUnitType>(nal_unit[0] & 0x1F);
  return type == NalUnitType::kSps || type == NalUnitType::kPps || type == NalUnitType::kEndOfSequence ||
         type == NalUnitType::kEndOfStream;
}

// Whether it tells that a byte stream is H.264: parameter sets and IDR slices, which have a nal_ref_idc, and
// delimiters, which have none. SEI reads like an H.265 picture of a higher temporal sub-layer (TSA_R).
constexpr bool marks_stream(std::span<const std::uint8_t> nal_unit) {
  if (nal_unit.size() < 2 || (nal_unit[0] & 0x80) != 0) return false;
  const int type = nal_unit[0] & 0x1F, ref_idc = nal_unit[0] >> 5;
  if (type == 5 || type == 7 || type == 8) return ref_idc != 0;
  return type == 9 && ref_idc == 0 && (nal_unit[1] & 0x1F) == 0x10;
}

}  // namespace ove::h264
