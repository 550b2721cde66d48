#include "nal_target.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "bitstream/nal.h"
#include "check.h"
#include "common/error.h"
#include "mutator.h"

namespace ove::fuzz {

namespace {

constexpr std::size_t kHead = 4;

struct Outcome {
  std::vector<std::size_t> pictures;
  std::string error;
  bool operator==(const Outcome&) const = default;
};

std::vector<std::vector<std::uint8_t>> make_packets(std::span<const std::uint8_t> stream, int framing,
                                                    std::size_t length_size) {
  std::vector<std::vector<std::uint8_t>> packets;
  if (framing == 0 || framing == 3) return {{stream.begin(), stream.end()}};
  for (const NalUnit& unit : NalFraming().split(stream)) {
    std::vector<std::uint8_t> packet{0, 0, 1};
    if (framing == 2) {
      packet.clear();
      for (std::size_t i = length_size; i-- > 0;)
        packet.push_back(static_cast<std::uint8_t>(unit.bytes.size() >> 8 * i));
    }
    packet.insert(packet.end(), unit.bytes.begin(), unit.bytes.end());
    packets.push_back(std::move(packet));
  }
  return packets;
}

Outcome decode(codec::Decoder& decoder, std::span<const std::uint8_t> extradata,
               const std::vector<std::vector<std::uint8_t>>& packets) {
  Outcome outcome;
  try {
    decoder.set_extradata(extradata);
    const auto take = [&] {
      while (const auto picture = decoder.pop()) outcome.pictures.push_back(check_picture(*picture));
    };
    std::int64_t index = 0, position = 0;
    for (const auto& packet : packets) {
      // Its own memory, so that a read past its end is seen.
      decoder.decode(packet, {.packet = index++, .pts = 0, .has_pts = false, .discard = false}, position);
      position += std::ssize(packet);
      take();
    }
    decoder.flush();
    take();
  } catch (const Error& error) {
    outcome.error = error.what();
    if (outcome.error.empty()) finding("an error without a message");
  }
  return outcome;
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
  const std::vector<std::uint8_t> extradata(input.begin() + kHead, input.begin() + static_cast<std::ptrdiff_t>(begin));
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
  const auto packets = make_packets(input.subspan(begin), flags & 3, length_size);
  const Outcome one = decode(*make_decoder(options), extradata, packets);
  if (flags & 8) {
    options.threads = 2;
    if (decode(*make_decoder(options), extradata, packets) != one) finding("two threads give something else than one");
  }
  return 0;
}

}  // namespace ove::fuzz
