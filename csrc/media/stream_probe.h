// What avformat_find_stream_info(), or describe_first_picture() for it, finds out about the streams of a file. Who
// opens the file again need not ask again.
#pragma once

#include <cstdint>
#include <vector>

#include "media/ffmpeg.h"

namespace ove::media {

// Constant once made, so that any thread or forked process may use it.
class StreamProbe {
 public:
  // Looks at the streams as avformat_open_input() leaves them, and probes them. The result of libavformat is in code().
  StreamProbe(AVFormatContext& input, AVDictionary** options);

  int code() const { return code_; }

  // If `input`, as avformat_open_input() leaves it, has the same streams, gives it what was found, and returns true.
  // Only of MP4, whose packets have all their times from the container; else false.
  bool apply(AVFormatContext& input) const;

 private:
  struct FreeParameters {
    void operator()(AVCodecParameters* parameters) const { avcodec_parameters_free(&parameters); }
  };
  using Parameters = std::unique_ptr<AVCodecParameters, FreeParameters>;
  struct Times {
    std::int64_t start_time, duration, num_frames;
    AVRational time_base, frame_rate, guessed_frame_rate, sample_aspect_ratio;
  };
  struct Stream {
    Parameters parameters;
    Times times;
    int num_indexed;
  };

  static std::vector<Stream> describe(const AVFormatContext& input);
  static bool same(const Stream& a, const Stream& b);

  std::vector<Stream> opened_, probed_;
  std::int64_t start_time_, duration_, bit_rate_;  // of the file
  int code_;
};

}  // namespace ove::media
