// Fuzz target: packets that are pushed, as of a live stream, and what becomes of them on the way.
//
// Input: flags, the number of faults, the faults, NAL units in Annex B.
//   flags & 1    H.264, else HEVC
//   flags & 2    pixels too
//   flags & 4    residual too, not just motion
//   flags & 8    residuals packed
//   flags >> 4   which pictures' pixels are wanted: every n-th
// A packet has one picture, and the parameter sets before it. Faults follow one another packet by packet:
//   0 as it is, 1 lost, 2 twice, 3 said to be corrupt, 4 the first half of it, 5 behind the next one, 6 the stream ends
//   and goes on, 7 without a time

#include <cmath>
#include <cstdint>
#include <limits>
#include <set>
#include <span>
#include <vector>

#include "bitstream/nal.h"
#include "check.h"
#include "common/error.h"
#include "mutator.h"
#include "pipeline/live_decoder.h"

namespace ove::fuzz {

namespace {

using Packet = std::span<const std::uint8_t>;

constexpr std::size_t kHead = 2;

bool begins_picture(Packet unit, bool h264) {
  if (unit.size() < 3) return false;
  if (h264) return ((unit[0] & 31) == 1 || (unit[0] & 31) == 5) && unit[1] & 0x80;
  return (unit[0] >> 1 & 63) < 32 && unit[2] & 0x80;
}

// Each ends behind the first slice of a picture and what follows it but parameter sets.
std::vector<Packet> make_packets(Packet stream, bool h264) {
  constexpr std::size_t kStartCode = 3;
  std::vector<Packet> packets;
  std::size_t begin = 0;
  bool has_picture = false;
  for (const NalUnit& unit : NalFraming().split(stream)) {
    const std::size_t at = unit.offset - kStartCode;
    const bool slice = h264 ? (unit.bytes[0] & 31) <= 5 : (unit.bytes[0] >> 1 & 63) < 32;
    if (has_picture && (!slice || begins_picture(unit.bytes, h264))) {
      packets.push_back(stream.subspan(begin, at - begin));
      begin = at;
      has_picture = false;
    }
    has_picture |= begins_picture(unit.bytes, h264);
  }
  packets.push_back(stream.subspan(begin));
  return packets;
}

// What a stream gives, held to what it promises.
class Stream {
 public:
  Stream(pipeline::LiveDecoder::Options options, int wanted_step)
      : decoder_(std::move(options)), wanted_step_(wanted_step) {}

  void push(Packet packet, double pts, bool corrupt = false) {
    decoder_.push(packet, pts, corrupt);
    ++pushed_;
    take();
  }

  void flush() {
    decoder_.flush();
    take();
    if (losses_ && last_end_ > pushed_) finding("a loss ends behind the stream");
  }

 private:
  void take() {
    for (reader::VideoPicture picture; decoder_.next(picture);) {
      const std::int64_t packet = picture.codec->tag.packet;
      check_picture(*picture.codec);
      if (picture.index != given_++) finding("pictures are not counted one by one");
      if (packet < 0 || packet >= pushed_) finding("a picture of a packet that was not pushed");
      if (!std::isfinite(picture.pts)) finding("a picture without a time");
      const bool wanted = picture.index % wanted_step_ == 0;
      if (wanted) wanted_.insert(packet);
      decoder_.decide(packet, wanted);
    }
    for (const media::KeptPicture& frame : decoder_.take_pixels()) {
      if (!wanted_.contains(frame.packet)) finding("pixels that nobody wants");
    }
    for (const reader::Loss& loss : decoder_.take_losses()) {
      if (loss.packet < 0 || loss.end < loss.packet || loss.end > pushed_) finding("a loss of no packets");
      if (loss.packet < last_end_) finding("losses out of order");
      if (loss.reason.empty()) finding("a loss without a reason");
      last_end_ = loss.end;
      losses_ = true;
    }
  }

  pipeline::LiveDecoder decoder_;
  const int wanted_step_;
  std::int64_t pushed_ = 0, given_ = 0, last_end_ = 0;
  bool losses_ = false;
  std::set<std::int64_t> wanted_;
};

void run(Stream& stream, std::vector<Packet> packets, Packet faults) {
  for (std::size_t i = 0; i < packets.size(); ++i) {
    const int fault = faults.empty() ? 0 : faults[i % faults.size()] & 7;
    if (fault == 5 && i + 1 < packets.size()) std::swap(packets[i], packets[i + 1]);
    const Packet packet = fault == 4 ? packets[i].first(packets[i].size() / 2) : packets[i];
    const double pts = fault == 7 ? std::numeric_limits<double>::quiet_NaN() : static_cast<double>(i) / 25;
    if (fault == 6) stream.flush();
    if (fault == 1) continue;
    stream.push(packet, pts, fault == 3);
    if (fault == 2) stream.push(packet, pts);
  }
  stream.flush();
}

}  // namespace

std::size_t annex_b_begin(std::span<const std::uint8_t> input) {
  return input.size() < kHead ? input.size() : std::min(input.size(), kHead + input[1]);
}

}  // namespace ove::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ove;
  using namespace ove::fuzz;
  const std::span input(data, size);
  if (size < kHead) return -1;
  const int flags = input[0];
  const std::size_t begin = annex_b_begin(input);
  pipeline::LiveDecoder::Options options;
  options.codec = flags & 1 ? "h264" : "hevc";
  options.pixels = flags & 2;
  options.detail.amount = flags & 4 ? codec::Amount::kResidual : codec::Amount::kMotion;
  options.detail.form = flags & 8 ? codec::ResidualForm::kPacked : codec::ResidualForm::kPlane;
  options.limits.max_luma_samples = kMaxLumaSamples;
  options.limits.max_slice_segments = 256;
  try {
    Stream stream(std::move(options), 1 + (flags >> 4));
    run(stream, make_packets(input.subspan(begin), flags & 1), input.subspan(kHead, begin - kHead));
  } catch (const Error& error) {
    if (*error.what() == '\0') finding("an error without a message");
  }
  return 0;
}
