#include "media/annexb.h"

#include <cstddef>

namespace ove::media {

namespace {

// Offset behind the next start code at or after `from`, or the size where there is none.
std::size_t after_start_code(std::span<const std::uint8_t> s, std::size_t from) {
  for (std::size_t i = from; i + 3 <= s.size(); ++i) {
    if (s[i] == 0 && s[i + 1] == 0 && s[i + 2] == 1) return i + 3;
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

// H.264 7.3.1: parameter sets and IDR slices with a nal_ref_idc, delimiters and SEI without.
bool marks_h264(std::uint8_t first, std::uint8_t second) {
  const int type = first & 0x1f, ref_idc = first >> 5;
  if (first & 0x80) return false;
  if (type == 5 || type == 7 || type == 8) return ref_idc != 0;
  return ref_idc == 0 && ((type == 9 && (second & 0x1f) == 0x10) || type == 6);
}

}  // namespace

AnnexB sniff_annexb(std::span<const std::uint8_t> head) {
  if (!begins_with_start_code(head)) return AnnexB::kNone;
  int hevc = 0, h264 = 0;
  for (std::size_t i = after_start_code(head, 0); i + 2 <= head.size(); i = after_start_code(head, i)) {
    if (head[i] & 0x80) return AnnexB::kNone;  // forbidden_zero_bit: MPEG-1, MPEG-2 and MPEG-4 headers have it set
    hevc += marks_hevc(head[i], head[i + 1]);
    h264 += marks_h264(head[i], head[i + 1]);
  }
  if (hevc == h264) return AnnexB::kNone;
  return hevc > h264 ? AnnexB::kHevc : AnnexB::kH264;
}

}  // namespace ove::media
