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

// How the NAL units of a stream's packets are told apart: by start codes (Annex B), or by a length before each (ISO/IEC
// 14496-15).
class NalFraming {
 public:
  NalFraming() = default;
  // `length_size`: bytes of a length, 1 to 4; 0 for start codes.
  explicit NalFraming(int length_size) : length_size_(length_size) {}

  // The NAL units of a packet, without empty ones. Zero bytes before and behind a unit that start codes mark belong to
  // none, and bytes before the first start code are ignored, as is what follows the first `most` units. Start codes
  // behind a length mark units too. Throws InvalidBitstreamError where a length overruns.
  std::vector<NalUnit> split(std::span<const std::uint8_t> packet, std::size_t most = SIZE_MAX) const;

  // Whether a packet that was split into these units holds nothing else: padding, or start codes behind a length. What
  // lies around start codes does not count.
  bool is_tight(std::span<const std::uint8_t> packet, std::span<const NalUnit> units) const;

  // Appends a NAL unit to a packet. Throws UnsupportedStreamError where its length does not fit.
  void append(std::span<const std::uint8_t> nal_unit, std::vector<std::uint8_t>& packet) const;

 private:
  int length_size_ = 0;
};

// Whether the bytes begin as a byte stream of Annex B does: with a start code, and zeros before it at most.
bool begins_with_start_code(std::span<const std::uint8_t> bytes);

// Removes emulation prevention bytes (H.265 and H.264, 7.3.1).
std::vector<std::uint8_t> to_rbsp(std::span<const std::uint8_t> bytes);

}  // namespace ove
