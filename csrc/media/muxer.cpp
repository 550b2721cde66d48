#include "media/muxer.h"

#include <cstdio>
#include <stdexcept>
#include <utility>

#include "common/error.h"

namespace ove::media {

namespace {

constexpr int kIoBuffer = 1 << 16;

int write_bytes(void* opaque, WrittenByte* bytes, int size) {
  auto& output = *static_cast<Muxer::Output*>(opaque);
  if (output.error) return AVERROR_EXTERNAL;
  try {
    output.sink->write({bytes, static_cast<std::size_t>(size)});
    return size;
  } catch (...) {
    output.error = std::current_exception();
    return AVERROR_EXTERNAL;
  }
}

std::int64_t seek_bytes(void* opaque, std::int64_t offset, int whence) {
  auto& output = *static_cast<Muxer::Output*>(opaque);
  if (output.error) return AVERROR_EXTERNAL;
  if (whence & AVSEEK_SIZE) return output.sink->size();
  if ((whence & ~AVSEEK_FORCE) != SEEK_SET) return AVERROR(EINVAL);
  try {
    output.sink->seek(offset);
    return offset;
  } catch (...) {
    output.error = std::current_exception();
    return AVERROR_EXTERNAL;
  }
}

}  // namespace

Muxer::Muxer(std::unique_ptr<ByteSink> sink, const std::string& container)
    : output_(std::make_unique<Output>()), isobmff_(container == "mp4" || container == "mov") {
  output_->sink = std::move(sink);
  auto* buffer = static_cast<unsigned char*>(av_malloc(kIoBuffer));
  if (!buffer) throw std::bad_alloc();
  io_.reset(avio_alloc_context(buffer, kIoBuffer, 1, output_.get(), nullptr, write_bytes, seek_bytes));
  if (!io_) {
    av_free(buffer);
    throw std::bad_alloc();
  }
  AVFormatContext* context = nullptr;
  avformat_alloc_output_context2(&context, nullptr, container.c_str(), nullptr);
  if (!context) throw std::invalid_argument("this libavformat cannot write files of the format " + container);
  context_.reset(context);
  context->pb = io_.get();
  context->flags |= AVFMT_FLAG_CUSTOM_IO | AVFMT_FLAG_BITEXACT;  // neither dates nor versions
}

void Muxer::check(int code, const char* what) {
  if (output_->error) std::rethrow_exception(std::exchange(output_->error, nullptr));
  if (code < 0) throw Error(std::string("the transcoded file cannot be ") + what + " (" + error_text(code) + ")");
}

AVStream& Muxer::add_stream(const AVCodecContext& encoder) {
  AVStream* stream = avformat_new_stream(context_.get(), nullptr);
  if (!stream || avcodec_parameters_from_context(stream->codecpar, &encoder) < 0) throw std::bad_alloc();
  // Parameter sets stand in the header alone, which is what hvc1 says; some players take no other.
  stream->codecpar->codec_tag = isobmff_ ? MKTAG('h', 'v', 'c', '1') : 0;
  return *stream;
}

void Muxer::begin() {
  const Silence quiet;
  // The first time stamp of MP4 files counts in units of the whole file. FFmpeg 4.4 has milliseconds for that.
  const AVStream& stream = *context_->streams[0];
  av_opt_set_int(context_.get(), "movie_timescale", stream.time_base.den, AV_OPT_SEARCH_CHILDREN);
  check(avformat_write_header(context_.get(), nullptr), "begun");
}

void Muxer::write(AVPacket& packet, AVRational time_base) {
  const Silence quiet;
  packet.stream_index = 0;
  av_packet_rescale_ts(&packet, time_base, context_->streams[0]->time_base);
  const int code = av_write_frame(context_.get(), &packet);
  av_packet_unref(&packet);
  check(code, "written");
}

void Muxer::end() {
  const Silence quiet;
  const int code = av_write_trailer(context_.get());
  avio_flush(io_.get());
  check(code, "ended");
  output_->sink->close();
}

}  // namespace ove::media
