// Motion vectors of codecs that have no syntax decoder of their own here, as libavcodec exports them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "media/demuxer.h"
#include "media/packet_filter.h"

namespace ove::media {

// Arrays cover the coded picture, row after row of ceil(width / 4) blocks of 4x4 luma samples.
struct ExportedMotion {
  std::int64_t packet = -1;  // Packet::index, -1 where unknown
  std::int64_t packet_bytes = 0;
  double pts = 0;                                                       // seconds
  char type = 'I';                                                      // 'I', 'P' or 'B'
  bool key = false;                                                     // of its packet
  int width = 0, height = 0;                                            // coded luma samples
  int window_x = 0, window_y = 0, window_width = 0, window_height = 0;  // what is shown of them
  std::vector<std::int16_t> mv;    // (rows, columns, 2 lists, x y), quarter samples; list 0 refers to the past
  std::vector<std::uint8_t> pred;  // (rows, columns), bit 0: list 0 used, bit 1: list 1
};

// Whether libavcodec exports vectors of this codec (FFmpeg's short name).
bool exports_motion(const std::string& codec);

// The pictures that libavcodec gives out, in output order. Samples are decoded no further than motion needs it.
class MotionDecoder {
 public:
  // Without `vectors` the arrays of pictures stay empty, and any codec will do. `threads` as FrameDecoder has it.
  // Throws UnsupportedStreamError for a codec without exported vectors where they are wanted, and what FrameDecoder
  // does.
  MotionDecoder(Demuxer demuxer, bool vectors, int threads, std::int64_t max_luma_samples,
                std::shared_ptr<const PacketFilter> filter);
  ~MotionDecoder();

  // Takes the next picture; false at the end. Throws DecodeError, with a byte offset, after the pictures before the
  // damage.
  bool next(ExportedMotion& picture);
  const Demuxer& demuxer() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ove::media
