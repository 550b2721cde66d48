#include "media/nal_units.h"

#include <cstddef>
#include <stdexcept>

namespace ove::media {

namespace {

constexpr std::size_t kStartCode = 3;

// Offset of the next start code (00 00 01) at or after `from`, or the size where there is none.
std::size_t find_start_code(std::span<const std::uint8_t> s, std::size_t from) {
  for (std::size_t i = from; i + kStartCode <= s.size(); ++i) {
    if (s[i] == 0 && s[i + 1] == 0 && s[i + 2] == 1) return i;
  }
  return s.size();
}

bool begins_with_start_code(std::span<const std::uint8_t> s) {
  std::size_t zeros = 0;
  while (zeros < s.size() && s[zeros] == 0) ++zeros;
  return zeros >= 2 && zeros < s.size() && s[zeros] == 1;
}

// H.265 7.3.1.2, base layer: intra random access pictures, parameter sets, delimiters, end of sequence, filler and SEI.
// Types of ordinary slices say nothing: their headers are valid in H.264 too.
bool marks_hevc(std::uint8_t first, std::uint8_t second) {
  const int type = first >> 1;
  return (first & 0x81) == 0 && second == 1 && ((type >= 16 && type <= 21) || (type >= 32 && type <= 40));
}

// H.264 7.3.1: parameter sets and IDR slices with a nal_ref_idc, delimiters without. SEI reads like an H.265 picture of
// a higher temporal sub-layer (TSA_R).
bool marks_h264(std::uint8_t first, std::uint8_t second) {
  const int type = first & 0x1f, ref_idc = first >> 5;
  if (first & 0x80) return false;
  if (type == 5 || type == 7 || type == 8) return ref_idc != 0;
  return ref_idc == 0 && type == 9 && (second & 0x1f) == 0x10;
}

}  // namespace

AnnexB sniff_annexb(std::span<const std::uint8_t> head) {
  if (!begins_with_start_code(head)) return AnnexB::kNone;
  int hevc = 0, h264 = 0;
  for (std::size_t at = find_start_code(head, 0); at + kStartCode + 2 <= head.size();
       at = find_start_code(head, at + kStartCode)) {
    const std::uint8_t first = head[at + kStartCode], second = head[at + kStartCode + 1];
    if (first & 0x80) return AnnexB::kNone;  // forbidden_zero_bit: MPEG-1, MPEG-2 and MPEG-4 headers have it set
    hevc += marks_hevc(first, second);
    h264 += marks_h264(first, second);
  }
  if (hevc == h264) return AnnexB::kNone;
  return hevc > h264 ? AnnexB::kHevc : AnnexB::kH264;
}

HevcPackets::HevcPackets(std::span<const std::uint8_t> extradata) {
  // ISO/IEC 14496-15 8.3.3.1: configurationVersion 1 ... lengthSizeMinusOne in the lowest bits of byte 21. Parameter
  // sets in byte stream form begin with zeros.
  if (extradata.size() > 21 && extradata[0] == 1) length_size_ = (extradata[21] & 3) + 1;
}

namespace {

// Calls visit(NAL unit with what precedes it, NAL unit) until that returns false; stops at lengths that do not fit.
template <class Visit>
void for_each_nal(std::span<const std::uint8_t> packet, int length_size, Visit&& visit) {
  if (length_size == 0) {
    for (std::size_t at = find_start_code(packet, 0); at < packet.size();) {
      const std::size_t next = find_start_code(packet, at + kStartCode);
      const std::span<const std::uint8_t> whole = packet.subspan(at, next - at);
      if (!visit(whole, whole.subspan(kStartCode))) return;
      at = next;
    }
    return;
  }
  const std::size_t prefix = static_cast<std::size_t>(length_size);
  while (packet.size() > prefix) {
    std::size_t length = 0;
    for (std::size_t i = 0; i < prefix; ++i) length = length << 8 | packet[i];
    if (length > packet.size() - prefix) return;
    if (!visit(packet.first(prefix + length), packet.subspan(prefix, length))) return;
    packet = packet.subspan(prefix + length);
  }
}

int nal_type(std::span<const std::uint8_t> nal) { return nal[0] >> 1 & 0x3f; }
bool base_layer(std::span<const std::uint8_t> nal) { return nal.size() >= 2 && (nal[0] & 1) == 0 && nal[1] >> 3 == 0; }

}  // namespace

std::vector<std::uint8_t> HevcPackets::without_slices(std::span<const std::uint8_t> packet) const {
  std::vector<std::uint8_t> kept;
  for_each_nal(packet, length_size_, [&](auto whole, auto nal) {
    const int type = base_layer(nal) ? nal_type(nal) : -1;
    if ((type >= 32 && type <= 34) || type == 36 || type == 37) kept.insert(kept.end(), whole.begin(), whole.end());
    return true;
  });
  return kept;
}

void HevcPackets::append(std::span<const std::uint8_t> nal_unit, std::vector<std::uint8_t>& packet) const {
  if (length_size_ == 0) packet.insert(packet.end(), {0, 0, 1});
  if (length_size_ > 0 && length_size_ < 4 && nal_unit.size() >> 8 * length_size_ != 0) {
    throw std::length_error("a parameter set is longer than the lengths of this stream can say");
  }
  for (int i = length_size_; i-- > 0;) packet.push_back(static_cast<std::uint8_t>(nal_unit.size() >> 8 * i));
  packet.insert(packet.end(), nal_unit.begin(), nal_unit.end());
}

}  // namespace ove::media
