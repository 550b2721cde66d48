#include "media/matroska.h"

#include <bit>
#include <cstddef>
#include <limits>

namespace ove::media {

namespace {

constexpr std::uint32_t kEbmlHeader = 0x1A45DFA3, kSegment = 0x18538067;

// Takes an element's four-byte ID and its size; false where they do not stand there or the size is unknown.
bool take_header(std::span<const std::uint8_t> head, std::size_t& at, std::uint32_t id, std::uint64_t& size) {
  if (head.size() < at + 5) return false;
  for (int shift = 24; shift >= 0; shift -= 8) {
    if (head[at++] != (id >> shift & 0xff)) return false;
  }
  const int more = std::countl_zero(head[at]);  // bytes of the size after its first
  if (more > 7 || head.size() < at + 1 + static_cast<std::size_t>(more)) return false;
  size = head[at++] & (0x7fU >> more);
  bool unknown = size == (0x7fU >> more);
  for (int i = 0; i < more; ++i) {
    unknown &= head[at] == 0xff;
    size = size << 8 | head[at++];
  }
  return !unknown;
}

}  // namespace

std::int64_t matroska_end(std::span<const std::uint8_t> head) {
  std::size_t at = 0;
  std::uint64_t size = 0;
  if (!take_header(head, at, kEbmlHeader, size) || size > head.size() - at) return -1;
  at += static_cast<std::size_t>(size);
  if (!take_header(head, at, kSegment, size)) return -1;
  const std::uint64_t end = at + size;
  return end <= std::numeric_limits<std::int64_t>::max() ? static_cast<std::int64_t>(end) : -1;
}

}  // namespace ove::media
