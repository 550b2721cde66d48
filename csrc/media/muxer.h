// A file with one video stream, by libavformat. Only this room may see it.
#pragma once

#include <exception>
#include <memory>
#include <string>

#include "media/byte_sink.h"
#include "media/ffmpeg.h"

namespace ove::media {

class Muxer {
 public:
  // Throws std::invalid_argument where libavformat has no muxer of this name.
  Muxer(std::unique_ptr<ByteSink> sink, const std::string& container);

  // Once; what else the stream is to say may be set until begin().
  AVStream& add_stream(const AVCodecContext& encoder);
  // From here on everything may throw what the sink throws.
  void begin();
  // Takes the packet's content; its times are in units of `time_base`.
  void write(AVPacket& packet, AVRational time_base);
  // Ends the file and closes the sink.
  void end();

  struct Output {
    std::unique_ptr<ByteSink> sink;
    std::exception_ptr error;  // thrown by the sink inside a callback of libavformat
  };

 private:
  void check(int code, const char* what);

  std::unique_ptr<Output> output_;
  IoPtr io_;
  OutputPtr context_;
  bool isobmff_;  // MP4 or QuickTime
};

}  // namespace ove::media
