// The only file that includes FFmpeg's headers and looks at their versions (4.4 to 8).
#pragma once

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/display.h>
#include <libavutil/pixdesc.h>
}

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace ove::media {

struct FreeIo {
  void operator()(AVIOContext* io) const {
    av_freep(&io->buffer);
    avio_context_free(&io);
  }
};
struct CloseIo {
  void operator()(AVIOContext* io) const { avio_closep(&io); }
};
struct CloseInput {
  void operator()(AVFormatContext* context) const { avformat_close_input(&context); }
};
struct FreeCodec {
  void operator()(AVCodecContext* context) const { avcodec_free_context(&context); }
};
struct FreePacket {
  void operator()(AVPacket* packet) const { av_packet_free(&packet); }
};
struct FreeFrame {
  void operator()(AVFrame* frame) const { av_frame_free(&frame); }
};

using IoPtr = std::unique_ptr<AVIOContext, FreeIo>;       // over callbacks
using FileIoPtr = std::unique_ptr<AVIOContext, CloseIo>;  // over a protocol of libavformat
using InputPtr = std::unique_ptr<AVFormatContext, CloseInput>;
using CodecPtr = std::unique_ptr<AVCodecContext, FreeCodec>;
using PacketPtr = std::unique_ptr<AVPacket, FreePacket>;
using FramePtr = std::unique_ptr<AVFrame, FreeFrame>;

// AVInputFormat and AVCodec became const where they are returned in libavformat 59.
#if LIBAVFORMAT_VERSION_MAJOR >= 59
using InputFormat = const AVInputFormat*;
#else
using InputFormat = AVInputFormat*;
#endif

// The nine numbers of the display matrix of a stream, or null.
inline const std::int32_t* display_matrix(const AVStream& stream) {
#if LIBAVCODEC_VERSION_MAJOR >= 61
  const AVPacketSideData* side = av_packet_side_data_get(
      stream.codecpar->coded_side_data, stream.codecpar->nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
  const std::uint8_t* data = side ? side->data : nullptr;
  const std::size_t size = side ? side->size : 0;
#elif LIBAVFORMAT_VERSION_MAJOR >= 59
  std::size_t size = 0;
  const std::uint8_t* data = av_stream_get_side_data(&stream, AV_PKT_DATA_DISPLAYMATRIX, &size);
#else
  int size = 0;
  const std::uint8_t* data = av_stream_get_side_data(const_cast<AVStream*>(&stream), AV_PKT_DATA_DISPLAYMATRIX, &size);
#endif
  return data && size >= 9 * sizeof(std::int32_t) ? reinterpret_cast<const std::int32_t*>(data) : nullptr;
}

inline std::string error_text(int code) {
  char text[AV_ERROR_MAX_STRING_SIZE] = {};
  return av_strerror(code, text, sizeof text) == 0 ? text : "error " + std::to_string(code);
}

// FFmpeg's log level is a setting of the whole process, and the process is not ours. av_log() adds an offset found
// through the AVClass of the context a message comes from, so contexts are silenced one by one: codec contexts have a
// member for it, and a format context gets a class of ours that points to a member which demuxing does not use.
inline constexpr int kSilent = 128;  // above every level; the bits from the eighth on are a colour

inline void silence(AVCodecContext& context) { context.log_level_offset = kSilent; }

inline void silence(AVFormatContext& context) {
  static const AVClass quiet = [&] {
    AVClass c = *context.av_class;
    c.version = LIBAVUTIL_VERSION_INT;  // members that only a newer library knows are not in this copy
    c.log_level_offset_offset = offsetof(AVFormatContext, metadata_header_padding);
    return c;
  }();
  context.av_class = &quiet;
  context.metadata_header_padding = kSilent;
}

}  // namespace ove::media
