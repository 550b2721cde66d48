// Table 7-1
#pragma once

#include <cstdint>
#include <span>

namespace ove::hevc {

enum class NalUnitType : std::uint8_t {
  kTrailN = 0,
  kRadlN = 6,
  kRadlR = 7,
  kRaslN = 8,
  kRaslR = 9,
  kReservedVclR15 = 15,
  kBlaWLp = 16,
  kBlaWRadl = 17,
  kBlaNLp = 18,
  kIdrWRadl = 19,
  kIdrNLp = 20,
  kCra = 21,
  kReservedIrap23 = 23,
  kVps = 32,
  kSps = 33,
  kPps = 34,
  kAccessUnitDelimiter = 35,
  kEndOfSequence = 36,
  kEndOfBitstream = 37,
};

// Slice segments of types this version of the standard defines.
constexpr bool is_slice(NalUnitType t) {
  return t <= NalUnitType::kRaslR || (t >= NalUnitType::kBlaWLp && t <= NalUnitType::kCra);
}
constexpr bool is_irap(NalUnitType t) { return t >= NalUnitType::kBlaWLp && t <= NalUnitType::kReservedIrap23; }
constexpr bool is_idr(NalUnitType t) { return t == NalUnitType::kIdrWRadl || t == NalUnitType::kIdrNLp; }
constexpr bool is_bla(NalUnitType t) { return t >= NalUnitType::kBlaWLp && t <= NalUnitType::kBlaNLp; }
constexpr bool is_rasl(NalUnitType t) { return t == NalUnitType::kRaslN || t == NalUnitType::kRaslR; }
constexpr bool is_radl(NalUnitType t) { return t == NalUnitType::kRadlN || t == NalUnitType::kRadlR; }
// Sub-layer non-reference pictures: even types up to RSV_VCL_N14
constexpr bool is_sub_layer_non_reference(NalUnitType t) {
  return t < NalUnitType::kReservedVclR15 && static_cast<int>(t) % 2 == 0;
}


// What follows asks NAL units for their header (7.3.1.2), of the base layer.

// Whether later pictures may need it: parameter sets, ends of sequence and bitstream.
constexpr bool outlasts_picture(std::span<const std::uint8_t> nal_unit) {
  if (nal_unit.size() < 2 || (nal_unit[0] & 1) != 0 || nal_unit[1] >> 3 != 0) return false;
  const auto type = static_cast<NalUnitType>(nal_unit[0] >> 1 & 0x3F);
  return (type >= NalUnitType::kVps && type <= NalUnitType::kPps) || type == NalUnitType::kEndOfSequence ||
         type == NalUnitType::kEndOfBitstream;
}

// Whether it tells that a byte stream is H.265: intra random access pictures, parameter sets, delimiters, end of
// sequence, filler and SEI. Types of ordinary slices say nothing: their headers are valid in H.264 too.
constexpr bool marks_stream(std::span<const std::uint8_t> nal_unit) {
  if (nal_unit.size() < 2 || (nal_unit[0] & 0x81) != 0 || nal_unit[1] != 1) return false;
  const int type = nal_unit[0] >> 1;
  return (type >= 16 && type <= 21) || (type >= 32 && type <= 40);
}

}  // namespace ove::hevc
