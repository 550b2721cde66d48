#include "media/pixel_decoder.h"

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <iterator>
#include <stdexcept>
#include <string>
#include <utility>

#include "common/error.h"
#include "common/named_error.h"
#include "media/demuxer_impl.h"
#include "media/ffmpeg.h"
#include "media/frame_decoder.h"
#include "media/frame_memory.h"
#include "media/pixel_format.h"

namespace ove::media {

namespace {

void sort_unique(std::vector<std::int64_t>& v) {
  std::sort(v.begin(), v.end());
  v.erase(std::unique(v.begin(), v.end()), v.end());
}

// NVDEC's frames where the stream allows it, else those of the CPU.
AVPixelFormat choose_format(AVCodecContext* codec, const AVPixelFormat* formats) {
  for (const AVPixelFormat* f = formats; *f != AV_PIX_FMT_NONE; ++f) {
    if (*f == AV_PIX_FMT_CUDA) return *f;
  }
  return avcodec_default_get_format(codec, formats);
}

bool has_nvdec(const AVCodec* decoder) {
  for (int i = 0; const AVCodecHWConfig* config = avcodec_get_hw_config(decoder, i); ++i) {
    if (config->device_type == AV_HWDEVICE_TYPE_CUDA &&
        (config->methods & AV_CODEC_HW_CONFIG_METHOD_HW_DEVICE_CTX) != 0) {
      return true;
    }
  }
  return false;
}

// A device of libavutil on a context that is there already. av_hwdevice_ctx_create() refuses a primary context that is
// active with other flags than its own, as PyTorch's is, and takes the current one only from FFmpeg 6.1 on.
BufferPtr make_device(const Nvdec& nvdec, int& code) {
  BufferPtr device(av_hwdevice_ctx_alloc(AV_HWDEVICE_TYPE_CUDA));
  if (!device) {
    code = AVERROR(ENOSYS);
    return nullptr;
  }
  auto* cuda = static_cast<AVCUDADeviceContext*>(reinterpret_cast<AVHWDeviceContext*>(device->data)->hwctx);
  cuda->cuda_ctx = static_cast<CUcontext>(nvdec.context);
  cuda->stream = static_cast<CUstream>(nvdec.stream);
  code = av_hwdevice_ctx_init(device.get());
  return code < 0 ? nullptr : std::move(device);
}

bool contains(const std::vector<std::int64_t>& sorted, std::int64_t value) {
  return std::binary_search(sorted.begin(), sorted.end(), value);
}

}  // namespace

struct PixelDecoder::Impl {
  Demuxer demuxer;
  std::vector<std::int64_t> missing;  // wanted and not yet given, ascending
  std::vector<std::int64_t> dropped;
  std::vector<Section> sections;
  std::map<std::int64_t, std::int64_t> known_bytes;
  std::size_t section = 0;  // at work
  std::shared_ptr<PacketFilter> filter;
  FrameMemory memory;
  CodecPtr codec;
  FramePtr frame{av_frame_alloc()};
  PlanarConverter converter;
  std::vector<std::uint8_t> ahead;  // parameter sets for the packet sent next
  bool sets_due = false;            // those of the section are to be among them
  std::exception_ptr broken_end;    // what ended the packets early, thrown after the pictures before it
  std::int64_t position = -1;       // of the packet sent last
  // Of the packet read last, and whether the decoder is yet to get it.
  std::shared_ptr<const std::vector<std::uint8_t>> extradata;
  bool extradata_due = false;
  bool draining = false, ended = false;
  bool tolerant = false;  // of errors in pictures that are not wanted: those that are tell of damage themselves

  Impl(Demuxer source, Options options);
  void open(const Options& options);
  void begin_section();
  void next_section();
  void feed();
  void send_filtered(const Packet& packet);
  void end();
  void send(AVPacket* packet);
  [[noreturn]] void fail(const std::string& what, int code = 0) const;
};

PixelDecoder::Impl::Impl(Demuxer source, Options options)
    : demuxer(std::move(source)),
      missing(std::move(options.wanted)),
      dropped(std::move(options.dropped)),
      sections(std::move(options.sections)),
      known_bytes(std::move(options.known_bytes)),
      filter(std::move(options.filter)) {
  if (!frame) throw std::bad_alloc();
  if (options.threads < 0) throw std::invalid_argument("threads must not be negative");
  sort_unique(missing);
  sort_unique(dropped);
  if (!missing.empty() && missing.front() < 0) throw std::invalid_argument("numbers of packets must not be negative");
  open(options);
  if (!sections.empty()) begin_section();
}

void PixelDecoder::Impl::open(const Options& options) {
  codec = make_decoder(*demuxer.impl_->stream->codecpar, demuxer.info(), demuxer.name(), options.max_luma_samples,
                       filter.get());
  // Threads that decode a picture each wait for one another's: one more than cores keeps these busy, which is what
  // libavcodec itself takes for 0.
  share_work(*codec, options.threads > 1 ? options.threads + 1 : options.threads,
             sections.empty() ? Slices::kUnknown : Slices::kChecked);
  tolerant = options.incomplete;
  if (tolerant) {
    codec->err_recognition &= ~AV_EF_EXPLODE;
    // Pictures that libavcodec does not expect to be whole by what the stream says of recovery: the plan knows better.
    codec->flags |= AV_CODEC_FLAG_OUTPUT_CORRUPT;
  }
  const Silence quiet;
  if (options.nvdec) {
    if (!has_nvdec(codec->codec)) {
      throw UnsupportedStreamError(demuxer.name() + ": this libavcodec has no NVDEC for " + demuxer.info().codec +
                                   "; decode with decoder='cpu'");
    }
    int code = 0;
    BufferPtr device = make_device(*options.nvdec, code);
    if (!device) fail("NVDEC cannot be used; decode with decoder='cpu'", code);
    codec->hw_device_ctx = device.release();
    codec->get_format = choose_format;
    codec->extra_hw_frames = kMostFrames + 1;  // and the one received last
    codec->thread_count = 1;                   // the GPU decodes
  }
  memory.serve(*codec);
  open_decoder(*codec, demuxer.name());
}

void PixelDecoder::Impl::fail(const std::string& what, int code) const {
  throw DecodeError(demuxer.name() + ": " + what + (code ? " (" + error_text(code) + ")" : ""), position);
}

void PixelDecoder::Impl::begin_section() {
  const Section& s = sections[section];
  if (s.begin.index == 0 && demuxer.next_index() == 0) return;
  demuxer.seek(s.begin);
  ahead.clear();
  sets_due = filter != nullptr;
}

void PixelDecoder::Impl::send(AVPacket* packet) {
  if (packet && std::exchange(extradata_due, false) && side_data(*packet, AV_PKT_DATA_NEW_EXTRADATA).empty()) {
    const std::vector<std::uint8_t>& bytes = extradata ? *extradata : demuxer.info().extradata;
    const auto kept = filter ? filter->extradata_for_pixels(bytes) : std::nullopt;
    set_side_data(*packet, AV_PKT_DATA_NEW_EXTRADATA, kept ? *kept : bytes);
  }
  const int code = avcodec_send_packet(codec.get(), packet);
  if (code < 0 && code != AVERROR_EOF && !(tolerant && code == AVERROR_INVALIDDATA))
    fail("damaged at or shortly before this place", code);
}

void PixelDecoder::Impl::end() {
  ended = draining = true;
  send(nullptr);
}

// Sends one packet, or the end of the section or of all.
void PixelDecoder::Impl::feed() {
  if (!sections.empty() && demuxer.next_index() >= sections[section].end) {
    if (section + 1 == sections.size()) return end();
    draining = true;  // all pictures come out before decoding begins anew
    return send(nullptr);
  }
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
  if (!more) return end();
  position = packet.position;
  const auto known = known_bytes.find(packet.index);
  // Where reading begins in the middle, the first zero of a start code may belong to the packet, or to the one before.
  if (known != known_bytes.end() && std::abs(known->second - std::ssize(packet.data)) > 1) {
    fail("packet " + std::to_string(packet.index) +
         " is not the one that was there before: the source has changed; open it again");
  }
  try {
    send_filtered(packet);
  } catch (const Error&) {
    rethrow_named(demuxer.name());
  }
}

void PixelDecoder::Impl::send_filtered(const Packet& packet) {
  if (packet.extradata != extradata) {
    extradata = packet.extradata;
    extradata_due = true;
    if (filter) filter->set_extradata(extradata ? *extradata : demuxer.info().extradata);
    ahead.clear();  // the new ones hold all that is needed
  }
  if (std::exchange(sets_due, false)) ahead = filter->packet_of(sections[section].parameter_sets);
  if (contains(dropped, packet.index)) {
    if (!filter) return;
    const std::vector<std::uint8_t> rest = filter->without_picture(packet.data);
    ahead.insert(ahead.end(), rest.begin(), rest.end());
    return;
  }
  AVPacket& p = *demuxer.impl_->packet;
  p.pts = packet.index;
  p.dts = AV_NOPTS_VALUE;
  filter_for_pixels(filter.get(), p);
  if (p.size == 0) return;  // the decoder takes an empty packet for the end
  prepend(filter.get(), ahead, p);
  send(&p);
}

void PixelDecoder::Impl::next_section() {
  avcodec_flush_buffers(codec.get());
  draining = false;
  ++section;
  begin_section();
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
      self.next_section();
    } else if (code == AVERROR_EOF) {
      if (self.broken_end) std::rethrow_exception(self.broken_end);
      self.fail("the picture of packet " + std::to_string(self.missing.front()) + " does not come out of the decoder");
    } else if (code == AVERROR_INVALIDDATA && self.tolerant) {
      continue;
    } else if (code < 0) {
      self.fail("damaged at or shortly before this place", code);
    } else {
      const AVFrame& frame = *self.frame;
      const auto found = std::lower_bound(self.missing.begin(), self.missing.end(), frame.pts);
      const bool wanted = found != self.missing.end() && *found == frame.pts;
      const bool damaged = frame.decode_error_flags || (!self.tolerant && (frame.flags & AV_FRAME_FLAG_CORRUPT));
      if (damaged && (wanted || self.known_bytes.contains(frame.pts))) {
        self.fail("the picture of packet " + std::to_string(frame.pts) + " is damaged");
      }
      if (!wanted) continue;
      self.missing.erase(found);
      picture = {frame.pts, view(self.converter.planar(frame, self.demuxer.name()), self.demuxer.name()), nullptr};
      if (picture.yuv.on_gpu) {
        picture.frame = std::shared_ptr<AVFrame>(av_frame_clone(&frame), FreeFrame());
        if (!picture.frame) throw std::bad_alloc();
      }
      return true;
    }
  }
  return false;
}

}  // namespace ove::media
