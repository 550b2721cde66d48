// The only file that includes FFmpeg's headers and looks at their versions (4.4 to 8).
#pragma once

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/display.h>
#include <libavutil/hwcontext.h>
// All that this header needs of CUDA's, which builds without CUDA do not have.
#ifndef CUDA_VERSION
#define CUDA_VERSION 0
typedef struct CUctx_st* CUcontext;
typedef struct CUstream_st* CUstream;
#include <libavutil/hwcontext_cuda.h>
#undef CUDA_VERSION
#else
#include <libavutil/hwcontext_cuda.h>
#endif
#include <libavutil/imgutils.h>
#include <libavutil/motion_vector.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
}

#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <vector>

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
struct FreeOutput {  // its AVIOContext is not the context's own
  void operator()(AVFormatContext* context) const { avformat_free_context(context); }
};
struct FreeScaler {
  void operator()(SwsContext* context) const { sws_freeContext(context); }
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
struct FreeBuffer {
  void operator()(AVBufferRef* buffer) const { av_buffer_unref(&buffer); }
};

using IoPtr = std::unique_ptr<AVIOContext, FreeIo>;       // over callbacks
using FileIoPtr = std::unique_ptr<AVIOContext, CloseIo>;  // over a protocol of libavformat
using InputPtr = std::unique_ptr<AVFormatContext, CloseInput>;
using OutputPtr = std::unique_ptr<AVFormatContext, FreeOutput>;
using ScalerPtr = std::unique_ptr<SwsContext, FreeScaler>;
using CodecPtr = std::unique_ptr<AVCodecContext, FreeCodec>;
using PacketPtr = std::unique_ptr<AVPacket, FreePacket>;
using FramePtr = std::unique_ptr<AVFrame, FreeFrame>;
using BufferPtr = std::unique_ptr<AVBufferRef, FreeBuffer>;

// AVInputFormat and AVCodec became const where they are returned in libavformat 59.
#if LIBAVFORMAT_VERSION_MAJOR >= 59
using InputFormat = const AVInputFormat*;
#else
using InputFormat = AVInputFormat*;
#endif

// What a write callback of an AVIOContext is given.
#if LIBAVFORMAT_VERSION_MAJOR >= 61
using WrittenByte = const std::uint8_t;
#else
using WrittenByte = std::uint8_t;
#endif

// The parameters of a stream hold its side data from FFmpeg 6.1 on.
#define OVE_SIDE_DATA_OF_PARAMETERS (LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(60, 31, 100))

// Side data of a whole stream; empty where there is none of this type.
inline std::span<const std::uint8_t> side_data(const AVStream& stream, AVPacketSideDataType type) {
#if OVE_SIDE_DATA_OF_PARAMETERS
  const AVPacketSideData* side =
      av_packet_side_data_get(stream.codecpar->coded_side_data, stream.codecpar->nb_coded_side_data, type);
  return side ? std::span<const std::uint8_t>(side->data, side->size) : std::span<const std::uint8_t>();
#else
#if LIBAVFORMAT_VERSION_MAJOR >= 59
  std::size_t size = 0;
  const std::uint8_t* data = av_stream_get_side_data(&stream, type, &size);
#else
  int size = 0;
  const std::uint8_t* data = av_stream_get_side_data(const_cast<AVStream*>(&stream), type, &size);
#endif
  return data ? std::span<const std::uint8_t>(data, static_cast<std::size_t>(size)) : std::span<const std::uint8_t>();
#endif
}

// The samples of a container's index.
inline int num_indexed(const AVStream& stream) {
#if LIBAVFORMAT_VERSION_MAJOR >= 59
  return avformat_index_get_entries_count(&stream);
#else
  return stream.nb_index_entries;
#endif
}
inline const AVIndexEntry& indexed(const AVStream& stream, int i) {
#if LIBAVFORMAT_VERSION_MAJOR >= 59
  return *avformat_index_get_entry(&const_cast<AVStream&>(stream), i);
#else
  return stream.index_entries[i];
#endif
}

// Those that have bytes.
inline std::int64_t indexed_samples(const AVStream& stream) {
  std::int64_t samples = 0;
  for (int i = 0; i < num_indexed(stream); ++i) samples += indexed(stream, i).size > 0;
  return samples;
}

// Side data of a packet; empty where there is none of this type.
inline std::span<const std::uint8_t> side_data(const AVPacket& packet, AVPacketSideDataType type) {
#if LIBAVCODEC_VERSION_MAJOR >= 59
  std::size_t size = 0;
#else
  int size = 0;
#endif
  const std::uint8_t* data = av_packet_get_side_data(&packet, type, &size);
  return data ? std::span<const std::uint8_t>(data, static_cast<std::size_t>(size)) : std::span<const std::uint8_t>();
}

// libavcodec stores what a stream says, even a number that the enumeration does not have and that may not be read as
// one.
inline AVChromaLocation known_location(const AVChromaLocation& stored) {
  std::uint32_t number;
  static_assert(sizeof(number) == sizeof(stored));
  std::memcpy(&number, &stored, sizeof(number));
  return number < AVCHROMA_LOC_NB ? static_cast<AVChromaLocation>(number) : AVCHROMA_LOC_UNSPECIFIED;
}

// Of a type that the packet does not have yet.
inline void set_side_data(AVPacket& packet, AVPacketSideDataType type, std::span<const std::uint8_t> bytes) {
#if LIBAVCODEC_VERSION_MAJOR >= 59
  std::uint8_t* data = av_packet_new_side_data(&packet, type, bytes.size());
#else
  std::uint8_t* data = av_packet_new_side_data(&packet, type, static_cast<int>(bytes.size()));
#endif
  if (!data) throw std::bad_alloc();
  std::memcpy(data, bytes.data(), bytes.size());
}

inline void set_side_data(AVStream& stream, AVPacketSideDataType type, std::span<const std::uint8_t> bytes) {
#if OVE_SIDE_DATA_OF_PARAMETERS
  AVPacketSideData* side = av_packet_side_data_new(&stream.codecpar->coded_side_data,
                                                   &stream.codecpar->nb_coded_side_data, type, bytes.size(), 0);
  std::uint8_t* data = side ? side->data : nullptr;
#elif LIBAVFORMAT_VERSION_MAJOR >= 59
  std::uint8_t* data = av_stream_new_side_data(&stream, type, bytes.size());
#else
  std::uint8_t* data = av_stream_new_side_data(&stream, type, static_cast<int>(bytes.size()));
#endif
  if (!data) throw std::bad_alloc();
  std::memcpy(data, bytes.data(), bytes.size());
}

// The nine numbers of the display matrix of a stream, or null.
inline const std::int32_t* display_matrix(const AVStream& stream) {
  const std::span<const std::uint8_t> matrix = side_data(stream, AV_PKT_DATA_DISPLAYMATRIX);
  return matrix.size() >= 9 * sizeof(std::int32_t) ? reinterpret_cast<const std::int32_t*>(matrix.data()) : nullptr;
}

// The pixel formats that an encoder takes, ended by AV_PIX_FMT_NONE; null where it does not say.
inline const AVPixelFormat* pixel_formats(const AVCodec& encoder) {
#if LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(61, 13, 100)
  const void* formats = nullptr;
  avcodec_get_supported_config(nullptr, &encoder, AV_CODEC_CONFIG_PIX_FORMAT, 0, &formats, nullptr);
  return static_cast<const AVPixelFormat*>(formats);
#else
  return encoder.pix_fmts;
#endif
}

// get_buffer2 is called from any thread of the decoder; before FFmpeg 6 only if that is allowed.
inline void allow_callbacks_in_threads([[maybe_unused]] AVCodecContext& codec) {
#if LIBAVCODEC_VERSION_MAJOR < 60
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  codec.thread_safe_callbacks = 1;
#pragma GCC diagnostic pop
#endif
}

// Before FFmpeg 6 the wrapper of libx265 copies this, and loses the copies of pictures that never come out.
inline void forget_opaque([[maybe_unused]] AVFrame& frame) {
#if LIBAVUTIL_VERSION_MAJOR < 58
  frame.reordered_opaque = 0;
#endif
}

inline std::string error_text(int code) {
  char text[AV_ERROR_MAX_STRING_SIZE] = {};
  return av_strerror(code, text, sizeof text) == 0 ? text : "error " + std::to_string(code);
}

// Damage is told by exceptions, so FFmpeg must not write it to the console; but its log level and its log callback
// belong to the whole process. The level stays as it is. The callback is replaced once, by one that drops what this
// library caused and hands everything else on to FFmpeg's own: messages of a thread inside a Silence (libavformat works
// in the thread that calls it), and of codec contexts marked by silence(), directly or as parents (libavcodec has
// threads of its own). Where somebody replaces the callback again, the marked codecs stay silent.
inline constexpr int kSilent = 128;  // added to a message's level; the bits from the eighth on are a colour

class Silence {
 public:
  Silence() {
    static const bool installed = (av_log_set_callback(filter), true);
    static_cast<void>(installed);
    ++depth_;
  }
  ~Silence() { --depth_; }
  Silence(const Silence&) = delete;
  Silence& operator=(const Silence&) = delete;

 private:
  static void filter(void* context, int level, const char* format, va_list arguments) {
    if (depth_ > 0) return;
    for (void* c = context; c;) {
      const AVClass* type = *static_cast<const AVClass* const*>(c);
      if (!type) break;
      const auto* bytes = static_cast<const std::uint8_t*>(c);
      int offset = 0;
      if (type->log_level_offset_offset) std::memcpy(&offset, bytes + type->log_level_offset_offset, sizeof offset);
      if (offset == kSilent) return;
      c = nullptr;
      if (type->parent_log_context_offset) std::memcpy(&c, bytes + type->parent_log_context_offset, sizeof c);
    }
    av_log_default_callback(context, level, format, arguments);
  }

  static inline thread_local int depth_ = 0;
};

inline void silence(AVCodecContext& context) { context.log_level_offset = kSilent; }

}  // namespace ove::media
