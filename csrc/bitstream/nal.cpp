#include "bitstream/nal.h"

#include <algorithm>
#include <cstring>

#include "common/error.h"

namespace ove {

namespace {

constexpr std::size_t kNone = static_cast<std::size_t>(-1);

// Index of the next 00 00 `third` at or after `from`; memchr on the third byte, which is the rare one.
std::size_t find_triple(std::span<const std::uint8_t> data, std::size_t from, std::uint8_t third) {
  for (std::size_t i = from + 2; i < data.size();) {
    const void* hit = std::memchr(data.data() + i, third, data.size() - i);
    if (!hit) return kNone;
    i = static_cast<std::size_t>(static_cast<const std::uint8_t*>(hit) - data.data());
    if (data[i - 1] == 0 && data[i - 2] == 0) return i - 2;
    ++i;
  }
  return kNone;
}

// Appends the NAL units that start codes mark, as many as there are to be; `offset` is that of the stream.
void split_at_start_codes(std::span<const std::uint8_t> stream, std::size_t offset, std::size_t most,
                          std::vector<NalUnit>& units) {
  std::size_t start = find_triple(stream, 0, 1);
  while (start != kNone && units.size() < most) {
    const std::size_t begin = start + 3;
    start = find_triple(stream, begin, 1);
    std::size_t end = start == kNone ? stream.size() : start;
    while (end > begin && stream[end - 1] == 0) --end;
    if (end > begin) units.push_back({stream.subspan(begin, end - begin), offset + begin});
  }
}

std::vector<NalUnit> split_length_prefixed(std::span<const std::uint8_t> sample, std::size_t length_size,
                                           std::size_t most) {
  std::vector<NalUnit> units;
  std::size_t at = 0;
  while (at < sample.size() && units.size() < most) {
    if (sample.size() - at < length_size) {
      const auto rest = sample.subspan(at);
      if (std::all_of(rest.begin(), rest.end(), [](std::uint8_t byte) { return byte == 0; })) break;  // padding
      throw InvalidBitstreamError("a sample ends inside a NAL unit's length");
    }
    std::size_t length = 0;
    for (std::size_t i = 0; i < length_size; ++i) length = length << 8 | sample[at++];
    if (length > sample.size() - at) throw InvalidBitstreamError("a NAL unit's length overruns its sample");
    // Some writers put whole byte streams behind a length.
    const auto unit = sample.subspan(at, length);
    const std::size_t start = find_triple(unit, 0, 1);
    std::size_t end = start == kNone ? length : start;
    while (start != kNone && end > 0 && unit[end - 1] == 0) --end;
    if (end > 0) units.push_back({unit.first(end), at});
    if (start != kNone) split_at_start_codes(unit.subspan(start), at + start, most, units);
    at += length;
  }
  return units;
}

}  // namespace

std::vector<NalUnit> NalFraming::split(std::span<const std::uint8_t> packet, std::size_t most) const {
  if (length_size_ > 0) return split_length_prefixed(packet, static_cast<std::size_t>(length_size_), most);
  std::vector<NalUnit> units;
  split_at_start_codes(packet, 0, most, units);
  return units;
}

bool NalFraming::is_tight(std::span<const std::uint8_t> packet, std::span<const NalUnit> units) const {
  std::size_t size = 0;
  for (const NalUnit& unit : units) size += static_cast<std::size_t>(length_size_) + unit.bytes.size();
  return length_size_ == 0 || size == packet.size();
}

void NalFraming::append(std::span<const std::uint8_t> nal_unit, std::vector<std::uint8_t>& packet) const {
  if (length_size_ == 0) packet.insert(packet.end(), {0, 0, 1});
  if (length_size_ > 0 && length_size_ < 4 && nal_unit.size() >> 8 * length_size_ != 0) {
    throw UnsupportedStreamError("a parameter set is longer than the length fields of this stream allow");
  }
  for (int i = length_size_; i-- > 0;) packet.push_back(static_cast<std::uint8_t>(nal_unit.size() >> 8 * i));
  packet.insert(packet.end(), nal_unit.begin(), nal_unit.end());
}

bool begins_with_start_code(std::span<const std::uint8_t> bytes) {
  std::size_t zeros = 0;
  while (zeros < bytes.size() && bytes[zeros] == 0) ++zeros;
  return zeros >= 2 && zeros < bytes.size() && bytes[zeros] == 1;
}

std::vector<std::uint8_t> to_rbsp(std::span<const std::uint8_t> bytes) {
  std::vector<std::uint8_t> rbsp;
  rbsp.reserve(bytes.size());
  std::size_t from = 0;
  for (std::size_t at = 0; (at = find_triple(bytes, at, 3)) != kNone; at = from) {
    rbsp.insert(rbsp.end(), bytes.begin() + static_cast<std::ptrdiff_t>(from),
                bytes.begin() + static_cast<std::ptrdiff_t>(at + 2));
    from = at + 3;
  }
  rbsp.insert(rbsp.end(), bytes.begin() + static_cast<std::ptrdiff_t>(from), bytes.end());
  return rbsp;
}

}  // namespace ove
