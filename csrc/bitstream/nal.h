// NAL units in a byte stream (Annex B) or with length prefixes (ISO/IEC 14496-15), and their RBSP.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace ove {

// A NAL unit as it lies in its container, header included, emulation prevention bytes still in.
struct NalUnit {
  std::span<const std::uint8_t> bytes;
  std::size_t offset = 0;  // of bytes[0] in the buffer that was split
};

// Splits at the start codes 00 00 01. Trailing zero bytes belong to no NAL unit. Bytes before the first start code are
// ignored, and what follows the first `most` units.
std::vector<NalUnit> split_annex_b(std::span<const std::uint8_t> stream, std::size_t most = SIZE_MAX);

// Splits a sample of `length_size` (1..4) byte big-endian lengths. Throws InvalidBitstreamError where a length
// overruns. What follows the first `most` units is ignored.
std::vector<NalUnit> split_length_prefixed(std::span<const std::uint8_t> sample, int length_size,
                                           std::size_t most = SIZE_MAX);

// Removes emulation prevention bytes (7.3.1.1).
std::vector<std::uint8_t> to_rbsp(std::span<const std::uint8_t> bytes);

}  // namespace ove
