// Where a decoder of libavcodec puts its frames: on huge pages. Small ones are thousands a video, and to map them takes
// as long as to decode some pictures.
#pragma once

#include <cstddef>
#include <memory>

#include "media/ffmpeg.h"

namespace ove::media {

class FrameMemory {
 public:
  FrameMemory();
  ~FrameMemory();

  // Before the decoder is opened, which must be closed before this goes. Its frames may live on.
  void serve(AVCodecContext& codec);

 private:
  struct Pool;
  struct Piece;

  static int get_buffer(AVCodecContext* codec, AVFrame* frame, int flags);
  int allocate(AVCodecContext& codec, AVFrame& frame);

  std::shared_ptr<Pool> pool_;
};

}  // namespace ove::media
