#include "media/pixel_decoder.h"

#include <algorithm>
#include <exception>
#include <stdexcept>
#include <utility>

#include "common/error.h"
#include "media/demuxer_impl.h"
#include "media/ffmpeg.h"
#include "media/nal_units.h"
#include "media/pixel_format.h"

namespace ove::media {

namespace {

// More luma samples than any level of H.265 below 7 allows a picture; a stream that claims more is not believed.
constexpr std::int64_t kMaxPixels = std::int64_t{1} << 26;

void sort_unique(std::vector<std::int64_t>& v) {
  std::sort(v.begin(), v.end());
  v.erase(std::unique(v.begin(), v.end()), v.end());
}

bool contains(const std::vector<std::int64_t>& sorted, std::int64_t value) {
  return std::binary_search(sorted.begin(), sorted.end(), value);
}

// Packets [begin, end) that begin with an IRAP picture (but for the first of a stream), and what is wanted of them.
struct Group {
  std::int64_t begin = 0, end = 0;
  bool wanted = false, wanted_rasl = false;
};

}  // namespace

struct PixelDecoder::Impl {
  Demuxer demuxer;
  std::vector<std::int64_t> missing;  // wanted and not yet given, ascending
  std::vector<std::int64_t> dropped;
  std::vector<Group> skipped;  // ascending groups that are left out
  HevcPackets packets;
  CodecPtr codec;
  FramePtr frame{av_frame_alloc()};
  PacketPtr kept{av_packet_alloc()};
  std::exception_ptr broken_end;  // what ended the packets early, thrown after the pictures before it
  std::int64_t position = -1;     // of the packet sent last
  bool draining = false, ended = false, in_gap = false, sent_since_flush = false;

  Impl(Demuxer source, Options options);
  void plan();
  void open(int threads);
  void feed();
  void send(const AVPacket* packet);
  bool is_skipped(std::int64_t packet) const;
  [[noreturn]] void fail(const std::string& what, int code = 0) const;
};

PixelDecoder::Impl::Impl(Demuxer source, Options options)
    : demuxer(std::move(source)),
      missing(std::move(options.wanted)),
      dropped(std::move(options.dropped)),
      packets(demuxer.info().extradata) {
  if (!frame || !kept) throw std::bad_alloc();
  if (options.threads < 0) throw std::invalid_argument("threads must not be negative");
  sort_unique(missing);
  sort_unique(dropped);
  if (!missing.empty() && missing.front() < 0) throw std::invalid_argument("numbers of packets must not be negative");
  plan();
  open(options.threads);
}

// H.265 8.1.3, 8.3.2: pictures after an IRAP picture in both orders, and its RADL pictures, need nothing before it.
// RASL pictures may refer to pictures before it, but to none before the IRAP picture that precedes it.
void PixelDecoder::Impl::plan() {
  if (!demuxer.info().hevc || !demuxer.seekable() || missing.empty() || missing.back() == 0) return;
  demuxer.rewind();
  std::vector<Group> groups(1);
  try {
    for (Packet packet; groups.back().end <= missing.back() && demuxer.read(packet);) {
      const PictureKind kind = packets.kind(packet.data);
      if (kind == PictureKind::kIrap && packet.index > 0) groups.push_back({packet.index, packet.index});
      Group& group = groups.back();
      group.end = packet.index + 1;
      const bool wanted = contains(missing, packet.index);
      group.wanted |= wanted;
      group.wanted_rasl |= wanted && kind == PictureKind::kRasl;
    }
  } catch (const Error&) {
    // Found again, and told, when the packets are decoded.
  }
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const bool needed = groups[i].wanted || (i + 1 < groups.size() && groups[i + 1].wanted_rasl);
    if (!needed) skipped.push_back(groups[i]);
  }
  demuxer.rewind();
}

void PixelDecoder::Impl::open(int threads) {
  const AVCodecParameters* parameters = demuxer.impl_->stream->codecpar;
  const AVCodec* decoder = avcodec_find_decoder(parameters->codec_id);
  if (!decoder) {
    throw UnsupportedStreamError(demuxer.name() + ": this libavcodec has no decoder for " + demuxer.info().codec);
  }
  codec.reset(avcodec_alloc_context3(decoder));
  if (!codec) throw std::bad_alloc();
  if (avcodec_parameters_to_context(codec.get(), parameters) < 0) throw std::bad_alloc();
  const Silence quiet;
  silence(*codec);
  codec->thread_count = threads;
  codec->flags |= AV_CODEC_FLAG_UNALIGNED;  // the conformance window to the sample
  codec->err_recognition |= AV_EF_EXPLODE;  // no concealment
  codec->max_pixels = kMaxPixels;
  const int code = avcodec_open2(codec.get(), decoder, nullptr);
  if (code < 0) fail("its decoder cannot be opened", code);
}

void PixelDecoder::Impl::fail(const std::string& what, int code) const {
  throw DecodeError(demuxer.name() + ": " + what + (code ? " (" + error_text(code) + ")" : ""), position);
}

bool PixelDecoder::Impl::is_skipped(std::int64_t packet) const {
  const auto after = std::upper_bound(skipped.begin(), skipped.end(), packet,
                                      [](std::int64_t p, const Group& group) { return p < group.begin; });
  return after != skipped.begin() && packet < std::prev(after)->end;
}

void PixelDecoder::Impl::send(const AVPacket* packet) {
  const int code = avcodec_send_packet(codec.get(), packet);
  if (code < 0 && code != AVERROR_EOF) fail("damaged at or shortly before this place", code);
  sent_since_flush = true;
}

// Sends one packet, or the end.
void PixelDecoder::Impl::feed() {
  Packet packet;
  bool more = false;
  try {
    more = demuxer.read(packet);
    if (more && packet.corrupt) {
      throw DecodeError(demuxer.name() + ": picture " + std::to_string(packet.index) + " is incomplete",
                        packet.position);
    }
  } catch (const Error&) {
    broken_end = std::current_exception();
    more = false;
  }
  if (!more) {
    ended = draining = true;
    send(nullptr);
    return;
  }
  position = packet.position;
  const bool gap = is_skipped(packet.index);
  if (!gap && !contains(dropped, packet.index)) {
    in_gap = false;
    AVPacket& p = *demuxer.impl_->packet;
    p.pts = packet.index;
    p.dts = AV_NOPTS_VALUE;
    send(&p);
    return;
  }
  const std::vector<std::uint8_t> bytes =
      demuxer.info().hevc ? packets.without_slices(packet.data) : std::vector<std::uint8_t>{};
  av_packet_unref(kept.get());
  if (!bytes.empty()) {
    if (av_new_packet(kept.get(), static_cast<int>(bytes.size())) < 0) throw std::bad_alloc();
    std::copy(bytes.begin(), bytes.end(), kept->data);
  }
  if (gap && !in_gap) {
    in_gap = true;
    if (sent_since_flush) {  // decoding begins anew behind the gap; `kept` waits until all pictures are out
      draining = true;
      send(nullptr);
      return;
    }
  }
  if (kept->size > 0) send(kept.get());
}

PixelDecoder::PixelDecoder(Demuxer demuxer, Options options)
    : impl_(std::make_unique<Impl>(std::move(demuxer), std::move(options))) {}
PixelDecoder::~PixelDecoder() = default;
PixelDecoder::PixelDecoder(PixelDecoder&&) noexcept = default;
PixelDecoder& PixelDecoder::operator=(PixelDecoder&&) noexcept = default;

const Demuxer& PixelDecoder::demuxer() const { return impl_->demuxer; }

bool PixelDecoder::next(DecodedPicture& picture) {
  const Silence quiet;
  Impl& self = *impl_;
  while (!self.missing.empty()) {
    const int code = avcodec_receive_frame(self.codec.get(), self.frame.get());
    if (code == AVERROR(EAGAIN) && !self.draining) {
      self.feed();
    } else if (code == AVERROR_EOF && self.draining && !self.ended) {
      avcodec_flush_buffers(self.codec.get());
      self.draining = self.sent_since_flush = false;
      if (self.kept->size > 0) self.send(self.kept.get());
    } else if (code == AVERROR_EOF) {
      if (self.broken_end) std::rethrow_exception(self.broken_end);
      self.fail("the picture of packet " + std::to_string(self.missing.front()) + " does not come out of the decoder");
    } else if (code < 0) {
      self.fail("damaged at or shortly before this place", code);
    } else {
      const AVFrame& frame = *self.frame;
      const auto found = std::lower_bound(self.missing.begin(), self.missing.end(), frame.pts);
      if (found == self.missing.end() || *found != frame.pts) continue;
      if ((frame.flags & AV_FRAME_FLAG_CORRUPT) || frame.decode_error_flags) {
        self.fail("the picture of packet " + std::to_string(frame.pts) + " is damaged");
      }
      self.missing.erase(found);
      picture = {frame.pts, view(frame, self.demuxer.name())};
      return true;
    }
  }
  return false;
}

}  // namespace ove::media
