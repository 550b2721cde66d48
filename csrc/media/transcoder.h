// A video of any codec that libavcodec decodes, to HEVC by libx265.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "media/byte_sink.h"
#include "media/demuxer.h"
#include "media/packet_filter.h"

namespace ove::media {

// Reads, decodes, encodes and writes. The output has the video stream alone, with the time stamps, the display matrix,
// the colour description, the sample aspect ratio and the HDR metadata of the source. Samples right and below of an
// even size are cut off where chroma is subsampled. Not for use from several threads at a time.
class Transcoder {
 public:
  struct Options {
    std::string encoder = "libx265";             // libavcodec's name
    std::string preset = "fast";                 // libx265's
    double crf = 23;                             // its constant rate factor
    std::string params;                          // more of its parameters, "name=value:..."
    std::vector<std::string> pixel_formats;      // one of these comes out, the nearest; any where there are none
    std::vector<std::int64_t> decodable;         // see FrameDecoder::decode_only; all where there are none
    std::shared_ptr<const PacketFilter> filter;  // of the source's packets; null where they stay as they are
    std::string container = "mp4";               // libavformat's name of a muxer
    int threads = 0;                             // of the encoder; 0: as many as there are cores
    std::int64_t max_luma_samples = std::int64_t{1} << 26;  // of a picture
    // Seconds: only pictures shown from the first on and before the second are encoded. The ones before are decoded,
    // and nothing is read beyond the end.
    double start = -std::numeric_limits<double>::infinity(), end = std::numeric_limits<double>::infinity();
  };
  struct Facts {
    std::int64_t pictures = 0;                // encoded
    std::int64_t skipped = 0;                 // before the start
    std::int64_t moved = 0;                   // whose time stamps were missing or not after the one before, and made
    std::int64_t resized = 0;                 // of another size than the first one, scaled to it
    int width = 0, height = 0;                // that come out
    std::string source_format, pixel_format;  // FFmpeg's names, of the first picture and of what comes out
  };

  // Throws UnsupportedStreamError where libavcodec lacks the encoder or a decoder, where no pixel format will do, and
  // for more samples than allowed; std::invalid_argument for parameters that libx265 does not take.
  Transcoder(Demuxer demuxer, std::unique_ptr<ByteSink> sink, Options options);
  ~Transcoder();

  // Takes a picture through; false when all is written and the sink closed. Throws DecodeError, with a byte offset,
  // where the source is damaged, once the pictures decoded from before the damage have been encoded; and what the sink
  // throws; and std::invalid_argument where no picture is shown between start and end.
  bool step();
  // After a DecodeError of step(): ends the file behind the pictures before the damage. False where there are none.
  bool close_early();

  const Facts& facts() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ove::media
