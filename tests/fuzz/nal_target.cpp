#include "nal_target.h"

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "bitstream/nal.h"
#include "check.h"
#include "common/error.h"
#include "mutator.h"

namespace ove::fuzz {

namespace {

constexpr std::size_t kHead = 4;

using Packet = std::span<const std::uint8_t>;

// Views of the input where its bytes will do, so that little is copied; `prefixed` keeps the others.
std::vector<Packet> make_packets(Packet stream, int framing, std::size_t length_size,
                                 std::vector<std::uint8_t>& prefixed) {
  if (framing == 0 || framing == 3) return {stream};
  std::vector<Packet> packets;
  const std::vector<NalUnit> units = NalFraming().split(stream);
  for (const NalUnit& unit : units) {
    constexpr std::size_t kStartCode = 3;
    packets.push_back(stream.subspan(unit.offset - kStartCode, kStartCode + unit.bytes.size()));
  }
  if (framing == 1) return packets;
  prefixed.reserve(stream.size() + units.size() * length_size);
  for (std::size_t n = 0; n < units.size(); ++n) {
    const std::span bytes = units[n].bytes;
    const std::size_t begin = prefixed.size();
    for (std::size_t i = length_size; i-- > 0;) prefixed.push_back(static_cast<std::uint8_t>(bytes.size() >> 8 * i));
    prefixed.insert(prefixed.end(), bytes.begin(), bytes.end());
    packets[n] = {prefixed.data() + begin, prefixed.size() - begin};
  }
  return packets;
}

void decode(codec::Decoder& decoder, Packet extradata, const std::vector<Packet>& packets) {
  try {
    decoder.set_extradata(extradata);
    const auto take = [&] {
      while (const auto picture = decoder.pop()) check_picture(*picture);
    };
    std::int64_t index = 0, position = 0;
    for (const Packet packet : packets) {
      decoder.decode(packet, {.packet = index++, .pts = 0, .has_pts = false, .discard = false}, position);
      position += std::ssize(packet);
      take();
    }
    decoder.flush();
    take();
  } catch (const Error& error) {
    if (*error.what() == '\0') finding("an error without a message");
  }
}

}  // namespace

std::size_t annex_b_begin(std::span<const std::uint8_t> input) {
  if (input.size() < kHead) return input.size();
  return std::min(input.size(), kHead + (static_cast<std::size_t>(input[2]) << 8 | input[3]));
}

int run_nal_units(std::span<const std::uint8_t> input, std::size_t length_size_at, const MakeDecoder& make_decoder) {
  if (input.size() < kHead) return -1;
  const int flags = input[0], pattern = input[1];
  const std::size_t begin = annex_b_begin(input);
  const Packet extradata = input.first(begin).subspan(kHead);
  const std::size_t length_size = extradata.size() > length_size_at ? (extradata[length_size_at] & 3) + 1U : 4;

  codec::DecoderOptions options;
  options.order = flags & (4 | 64) ? codec::Order::kDecoding : codec::Order::kDisplay;
  options.as_coded = flags & 64;
  options.detail = [=](const codec::AccessUnitTag& tag) {
    codec::Detail detail;
    if (flags & 32) detail.form = codec::ResidualForm::kPacked;
    if (!(pattern >> tag.packet % 8 & 1)) detail.amount = codec::Amount::kMotion;
    if (flags & 16) detail.amount = codec::Amount::kHeaders;
    return detail;
  };
  options.limits.max_luma_samples = kMaxLumaSamples;
  options.limits.max_slice_segments = 256;
  std::vector<std::uint8_t> prefixed;
  const auto packets = make_packets(input.subspan(begin), flags & 3, length_size, prefixed);
  decode(*make_decoder(options), extradata, packets);
  return 0;
}

}  // namespace ove::fuzz
