#include "media/transcoder.h"

#include <algorithm>
#include <map>
#include <stdexcept>
#include <thread>
#include <utility>

#include "common/error.h"
#include "media/frame_decoder.h"
#include "media/muxer.h"

namespace ove::media {

namespace {

// Where a side is of a few blocks only, cutree of libx265 3.5 writes beyond its arrays; where it is one CTU of 64, what
// is encoded differs from run to run.
constexpr int kSmallSide = 64;
// It refuses a CTU that is larger than a side, and takes one of 16 by itself.
constexpr int kSmallCtu = 32;

// Pictures by which libx265 delays others at most, to reorder them.
constexpr int kReorderDelay = 2;

const AVPixFmtDescriptor& descriptor(AVPixelFormat format) { return *av_pix_fmt_desc_get(format); }

bool is_rgb(AVPixelFormat format) { return descriptor(format).flags & AV_PIX_FMT_FLAG_RGB; }

// The format of the same planes without a range in its name.
AVPixelFormat without_range(AVPixelFormat format) {
  switch (format) {
    case AV_PIX_FMT_YUVJ420P:
      return AV_PIX_FMT_YUV420P;
    case AV_PIX_FMT_YUVJ422P:
      return AV_PIX_FMT_YUV422P;
    case AV_PIX_FMT_YUVJ444P:
      return AV_PIX_FMT_YUV444P;
    default:
      return format;
  }
}

// Where there is no encoder, what the source is does not matter.
const AVCodec* find_encoder(const std::string& encoder, const std::string& name) {
  if (const AVCodec* found = avcodec_find_encoder_by_name(encoder.c_str())) return found;
  throw UnsupportedStreamError(
      name + ": this libavcodec (" + avcodec_license() + ") has no encoder " + encoder +
      " for transcoding; wheels have an LGPL build, without libx265. Build ove_codec with an FFmpeg that has it, such "
      "as that of Debian or Ubuntu: pip install --no-binary ove_codec ove_codec; or convert the video first: ffmpeg -i "
      "IN -c:v libx265 -crf 23 OUT.mp4");
}

}  // namespace

struct Transcoder::Impl {
  Options options;
  const AVCodec* encoder_type;
  FrameDecoder decoder;
  CodecPtr encoder;  // from the first picture on
  ScalerPtr scaler;  // where samples have to be converted
  Muxer muxer;
  FramePtr frame{av_frame_alloc()}, converted{av_frame_alloc()};
  PacketPtr packet{av_packet_alloc()};
  std::int64_t last_pts = kNoTimestamp, shift = 0;
  bool moved = false;                              // whether last_pts is not the source's
  std::int64_t first_pts = 0, written = 0;         // of the pictures encoded; packets in the file
  std::map<std::int64_t, std::int64_t> durations;  // by pts, of pictures at work
  Facts facts;

  Impl(Demuxer demuxer, std::unique_ptr<ByteSink> sink, Options o);
  const std::string& name() const { return decoder.demuxer().name(); }
  AVPixelFormat choose_format(AVPixelFormat source) const;
  void open_encoder(const AVFrame& first);
  void open_muxer();
  std::int64_t time_of(const PictureTimes& times);
  AVFrame& fit(AVFrame& source);
  void encode(AVFrame* picture);
  void finish();
};

Transcoder::Impl::Impl(Demuxer demuxer, std::unique_ptr<ByteSink> sink, Options o)
    : options(std::move(o)),
      encoder_type(find_encoder(options.encoder, demuxer.name())),
      decoder(std::move(demuxer), FrameDecoder::Wanted::kSamples, 1, options.max_luma_samples, options.filter),
      muxer(std::move(sink), options.container) {
  if (!frame || !converted || !packet) throw std::bad_alloc();
  if (options.threads < 0) throw std::invalid_argument("threads must not be negative");
  decoder.decode_only(options.decodable);
}

AVPixelFormat Transcoder::Impl::choose_format(AVPixelFormat source) const {
  std::vector<AVPixelFormat> choice;
  const AVPixelFormat* taken = pixel_formats(*encoder_type);
  for (const AVPixelFormat* f = taken; f && *f != AV_PIX_FMT_NONE; ++f) {
    const auto& names = options.pixel_formats;
    if (*f != without_range(*f)) continue;
    if (names.empty() || std::find(names.begin(), names.end(), descriptor(*f).name) != names.end())
      choice.push_back(*f);
  }
  if (choice.empty()) {
    throw UnsupportedStreamError(name() + ": the encoder " + options.encoder +
                                 " of this libavcodec takes none of the " + "pixel formats asked for");
  }
  if (std::find(choice.begin(), choice.end(), source) != choice.end()) return source;
  choice.push_back(AV_PIX_FMT_NONE);
  return avcodec_find_best_pix_fmt_of_list(choice.data(), source, 0, nullptr);
}

void Transcoder::Impl::open_encoder(const AVFrame& first) {
  const auto source = static_cast<AVPixelFormat>(first.format);
  const AVPixelFormat format = choose_format(without_range(source));
  encoder.reset(avcodec_alloc_context3(encoder_type));
  if (!encoder) throw std::bad_alloc();
  AVCodecContext& e = *encoder;
  silence(e);
  e.pix_fmt = format;
  e.width = first.width & -(1 << descriptor(format).log2_chroma_w);
  e.height = first.height & -(1 << descriptor(format).log2_chroma_h);
  if (e.width == 0 || e.height == 0) {
    throw UnsupportedStreamError(name() + ": pictures of " + std::to_string(first.width) + "x" +
                                 std::to_string(first.height) + " are too small to encode");
  }
  e.time_base = decoder.time_base();
  e.framerate = decoder.frame_rate();
  // The container's goes first; muxers refuse a stream whose two ratios differ.
  const AVRational container_ratio = decoder.stream().sample_aspect_ratio;
  e.sample_aspect_ratio = container_ratio.num > 0 ? container_ratio : first.sample_aspect_ratio;
  const bool recolored = is_rgb(source) && !is_rgb(format);
  e.colorspace = recolored ? AVCOL_SPC_SMPTE170M : first.colorspace;  // libswscale's own choice
  e.color_range = recolored ? AVCOL_RANGE_MPEG : source != without_range(source) ? AVCOL_RANGE_JPEG : first.color_range;
  e.color_primaries = first.color_primaries;
  e.color_trc = first.color_trc;
  e.chroma_sample_location = known_location(first.chroma_location);
  e.flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
  const int threads =
      options.threads ? options.threads : static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  // Frame threads change what is encoded, and their default goes by the machine: with one, and without a note of all
  // parameters in the stream, any number of threads on any machine gives the same.
  const int side = std::min(e.width, e.height);
  const std::string params = (options.params.empty() ? "" : options.params + ":") +
                             (side <= kSmallSide ? "cutree=0:" : "") +
                             (side <= kSmallSide && side >= kSmallCtu ? "ctu=32:" : "") +
                             "log-level=none:info=0:frame-threads=1:pools=" + std::to_string(threads);
  AVDictionary* given = nullptr;
  av_dict_set(&given, "preset", options.preset.c_str(), 0);
  av_dict_set(&given, "crf", std::to_string(options.crf).c_str(), 0);
  av_dict_set(&given, "x265-params", params.c_str(), 0);
  const int code = avcodec_open2(&e, encoder_type, &given);
  av_dict_free(&given);
  if (code < 0) {
    throw std::invalid_argument(name() + ": " + options.encoder + " refuses pictures of " + std::to_string(e.width) +
                                "x" + std::to_string(e.height) + " with the preset '" + options.preset + "' and '" +
                                options.params + "' (" + error_text(code) + ")");
  }
  facts.width = e.width;
  facts.height = e.height;
  facts.source_format = descriptor(source).name;
  facts.pixel_format = descriptor(format).name;
}

void Transcoder::Impl::open_muxer() {
  const Orientation orientation = decoder.demuxer().info().orientation;
  constexpr bool kKeepsTurns = LIBAVFORMAT_VERSION_MAJOR >= 61;
  if (options.container == "matroska" && (orientation.mirrored || (orientation.quarter_turns != 0 && !kKeepsTurns))) {
    throw UnsupportedStreamError(name() +
                                 ": its display matrix turns or mirrors the pictures, which this libavformat " +
                                 "does not write into Matroska; write an .mp4 or .mov file");
  }
  AVStream& stream = muxer.add_stream(*encoder);
  stream.time_base = decoder.time_base();
  stream.avg_frame_rate = decoder.frame_rate();
  const AVStream& source = decoder.stream();
  stream.sample_aspect_ratio = encoder->sample_aspect_ratio;
  for (const auto type :
       {AV_PKT_DATA_DISPLAYMATRIX, AV_PKT_DATA_MASTERING_DISPLAY_METADATA, AV_PKT_DATA_CONTENT_LIGHT_LEVEL}) {
    if (const auto data = side_data(source, type); !data.empty()) set_side_data(stream, type, data);
  }
  muxer.begin();
}

// As the source has it, where that is later than the picture before; else right behind it.
std::int64_t Transcoder::Impl::time_of(const PictureTimes& times) {
  const bool first = last_pts == kNoTimestamp;
  if (first) shift = std::max<std::int64_t>(0, -times.pts);  // containers show nothing before 0
  std::int64_t pts = times.pts + shift;
  if (!first && pts <= last_pts) pts = last_pts + 1;
  moved = times.made || pts != times.pts;
  return last_pts = pts;
}

// The picture as the encoder takes it.
AVFrame& Transcoder::Impl::fit(AVFrame& source) {
  const AVCodecContext& e = *encoder;
  const auto format = static_cast<AVPixelFormat>(source.format);
  const int mask_x = -(1 << descriptor(e.pix_fmt).log2_chroma_w), mask_y = -(1 << descriptor(e.pix_fmt).log2_chroma_h);
  source.width &= mask_x;
  source.height &= mask_y;
  const bool same_size = source.width == e.width && source.height == e.height;
  if (!same_size) ++facts.resized;
  if (same_size && without_range(format) == e.pix_fmt) {
    source.format = e.pix_fmt;
    return source;
  }
  scaler.reset(sws_getCachedContext(scaler.release(), source.width, source.height, format, e.width, e.height, e.pix_fmt,
                                    SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT, nullptr, nullptr, nullptr));
  if (!scaler) {
    throw UnsupportedStreamError(name() + ": libswscale cannot convert pictures of the pixel format " +
                                 descriptor(format).name);
  }
  AVFrame& target = *converted;
  av_frame_unref(&target);
  target.format = e.pix_fmt;
  target.width = e.width;
  target.height = e.height;
  if (av_frame_get_buffer(&target, 0) < 0) throw std::bad_alloc();
  const int rows =
      sws_scale(scaler.get(), source.data, source.linesize, 0, source.height, target.data, target.linesize);
  if (rows < 0) throw DecodeError(name() + ": a picture cannot be converted (" + error_text(rows) + ")");
  return target;
}

// One picture, or null for the end, into the encoder, and what comes out of it into the file.
void Transcoder::Impl::encode(AVFrame* picture) {
  const Silence quiet;
  const auto check = [&](int code) {
    if (code < 0) throw DecodeError(name() + ": " + options.encoder + " fails (" + error_text(code) + ")");
  };
  check(avcodec_send_frame(encoder.get(), picture));
  for (;;) {
    const int code = avcodec_receive_packet(encoder.get(), packet.get());
    if (code == AVERROR(EAGAIN) || code == AVERROR_EOF) return;
    check(code);
    if (const auto found = durations.find(packet->pts); found != durations.end()) {
      packet->duration = found->second;
      durations.erase(found);
    }
    // Where libx265 may reorder and has no more pictures than it delays, its decoding times are not initialised.
    if (facts.pictures <= kReorderDelay && packet->dts != packet->pts)
      packet->dts = first_pts - kReorderDelay + written;
    ++written;
    muxer.write(*packet, decoder.time_base());
  }
}

void Transcoder::Impl::finish() {
  if (!encoder) return;
  encode(nullptr);
  muxer.end();
}

Transcoder::Transcoder(Demuxer demuxer, std::unique_ptr<ByteSink> sink, Options options)
    : impl_(std::make_unique<Impl>(std::move(demuxer), std::move(sink), std::move(options))) {}
Transcoder::~Transcoder() = default;

const Transcoder::Facts& Transcoder::facts() const { return impl_->facts; }

bool Transcoder::step() {
  Impl& self = *impl_;
  const Silence quiet;
  AVFrame& frame = *self.frame;
  PictureTimes times;
  const AVRational tick = self.decoder.time_base();
  std::int64_t pts = 0;
  bool more = true;
  for (;;) {
    more = self.decoder.next(frame, times);
    if (!more) break;
    pts = self.time_of(times);
    const double seconds = static_cast<double>(pts) * tick.num / tick.den;
    more = seconds < self.options.end;
    if (!more || seconds >= self.options.start) break;
    ++self.facts.skipped;
  }
  if (!more) {
    if (!self.encoder && self.last_pts == kNoTimestamp)
      throw DecodeError(self.name() + ": there is no picture that can be decoded");
    if (!self.encoder) throw std::invalid_argument(self.name() + ": no picture is displayed between start and end");
    self.finish();
    return false;
  }
  if (self.moved) ++self.facts.moved;
  const bool first = !self.encoder;
  if (first) {
    self.open_encoder(frame);
    self.open_muxer();
    self.first_pts = pts;
  }
  AVFrame& fitting = self.fit(frame);
  fitting.pts = pts;
  fitting.pict_type = AV_PICTURE_TYPE_NONE;  // the encoder is to decide
  forget_opaque(fitting);
  self.durations[fitting.pts] = times.duration;
  self.encode(&fitting);
  ++self.facts.pictures;
  return true;
}

bool Transcoder::close_early() {
  impl_->finish();
  return impl_->encoder != nullptr;
}

}  // namespace ove::media
