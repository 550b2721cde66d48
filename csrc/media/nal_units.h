// The little that this room has to know of NAL units (H.265 7.3.1.2): raw streams have no container that says what they
// are, and packets that are not decoded still bring parameter sets.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace ove::media {

enum class AnnexB : std::uint8_t { kNone, kH264, kHevc };

// Whether `head`, the first bytes of a file, is a raw byte stream (Annex B) of one of both, judged by the headers of
// its NAL units. Files that do not begin with a start code are none.
AnnexB sniff_annexb(std::span<const std::uint8_t> head);

// Takes apart packets of HEVC, in the form that the extradata of their stream tells.
class HevcPackets {
 public:
  explicit HevcPackets(std::span<const std::uint8_t> extradata);

  // The packet without its slices: parameter sets and ends of sequence or bitstream. Empty where there are none.
  std::vector<std::uint8_t> without_slices(std::span<const std::uint8_t> packet) const;
  // Appends a NAL unit to a packet. Throws std::length_error where its length does not fit.
  void append(std::span<const std::uint8_t> nal_unit, std::vector<std::uint8_t>& packet) const;

 private:
  int length_size_ = 0;  // bytes of the length before every NAL unit; 0: start codes
};

}  // namespace ove::media
