// NAL units of H.264 (7.3.1, 7.4.1).
#pragma once

#include <cstddef>
#include <cstdint>

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

}  // namespace ove::h264
