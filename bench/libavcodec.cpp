// The plain decode of the system's libavformat and libavcodec, for the benchmark to compare with.

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/error.h>
}

#include <cstdint>
#include <memory>

namespace {

template <auto Free>
struct Deleter {
  template <typename T>
  void operator()(T* pointer) const {
    Free(&pointer);
  }
};
using Format = std::unique_ptr<AVFormatContext, Deleter<avformat_close_input>>;
using Context = std::unique_ptr<AVCodecContext, Deleter<avcodec_free_context>>;
using Packet = std::unique_ptr<AVPacket, Deleter<av_packet_free>>;
using Frame = std::unique_ptr<AVFrame, Deleter<av_frame_free>>;

// Takes all frames that the decoder has ready; returns 0 where it wants more packets or is done, or an error.
int drain(AVCodecContext* decoder, AVFrame* frame, int64_t* frames) {
  int status = 0;
  while ((status = avcodec_receive_frame(decoder, frame)) >= 0) ++*frames;
  return status == AVERROR(EAGAIN) || status == AVERROR_EOF ? 0 : status;
}

}  // namespace

extern "C" {

__attribute__((visibility("default"))) unsigned libavcodec_version() { return avcodec_version(); }

// Decodes the first video stream with `threads` threads, frames and slices in parallel as libavcodec prefers; nothing
// is converted or copied. Returns the number of frames, or a negative AVERROR.
__attribute__((visibility("default"))) int64_t libavcodec_decode(const char* path, int threads) {
  AVFormatContext* opened = nullptr;
  if (int status = avformat_open_input(&opened, path, nullptr, nullptr); status < 0) return status;
  const Format format(opened);
  if (int status = avformat_find_stream_info(format.get(), nullptr); status < 0) return status;
  const int stream = av_find_best_stream(format.get(), AVMEDIA_TYPE_VIDEO, -1, -1, nullptr, 0);
  if (stream < 0) return stream;
  const AVCodecParameters* parameters = format->streams[stream]->codecpar;
  const AVCodec* codec = avcodec_find_decoder(parameters->codec_id);
  if (codec == nullptr) return AVERROR_DECODER_NOT_FOUND;

  const Context decoder(avcodec_alloc_context3(codec));
  const Packet packet(av_packet_alloc());
  const Frame frame(av_frame_alloc());
  if (!decoder || !packet || !frame) return AVERROR(ENOMEM);
  if (int status = avcodec_parameters_to_context(decoder.get(), parameters); status < 0) return status;
  decoder->thread_count = threads;
  if (int status = avcodec_open2(decoder.get(), codec, nullptr); status < 0) return status;

  int64_t frames = 0;
  int status = 0;
  while ((status = av_read_frame(format.get(), packet.get())) >= 0) {
    if (packet->stream_index == stream) {
      // Every ready frame has been taken, so the decoder takes the packet.
      status = avcodec_send_packet(decoder.get(), packet.get());
      if (status >= 0) status = drain(decoder.get(), frame.get(), &frames);
    }
    av_packet_unref(packet.get());
    if (status < 0) return status;
  }
  if (status != AVERROR_EOF) return status;
  status = avcodec_send_packet(decoder.get(), nullptr);
  if (status >= 0) status = drain(decoder.get(), frame.get(), &frames);
  return status < 0 ? status : frames;
}

}  // extern "C"
