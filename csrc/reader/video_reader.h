// Demuxer and syntax decoder joined: the pictures of a video with their time stamps.
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <vector>

#include "hevc/decoder.h"
#include "media/demuxer.h"
#include "reader/video_index.h"

namespace ove::reader {

struct VideoPicture {
  std::shared_ptr<const hevc::CodecPicture> codec;
  std::int64_t index = 0;  // among the pictures given: of the display order, or of the decoding order
  double pts = 0;          // seconds
};

struct ReaderOptions {
  int threads = 1;  // 0: as many as there are cores
  hevc::Order order = hevc::Order::kDisplay;
  hevc::Detail detail = hevc::Detail::kResidual;  // of the pictures given
  hevc::Limits limits;
  std::function<void(const hevc::CodecPicture&)> observe;
  // If set, only `frame_ids` (display indices, ascending) are given, and nothing is decoded that they do not need.
  std::shared_ptr<const VideoIndex> index;
  std::vector<std::int64_t> frame_ids;
};

// Not for use from several threads at a time. Holds a bounded number of pictures, however long the video is.
class VideoReader {
 public:
  // Throws UnsupportedStreamError where the video is not HEVC.
  VideoReader(media::Demuxer demuxer, ReaderOptions options);

  const media::Demuxer& demuxer() const { return demuxer_; }

  // Takes the next picture; false at the end. Damage throws, once the pictures that precede it were given; messages
  // name the source, positions are byte offsets in it.
  bool next(VideoPicture& picture);

 private:
  void feed();
  bool give(std::shared_ptr<const hevc::CodecPicture> codec, VideoPicture& picture);
  [[noreturn]] void rethrow_named() const;

  media::Demuxer demuxer_;
  ReaderOptions options_;
  // where an index is given
  std::vector<hevc::Detail> details_;  // by packet
  std::vector<std::int64_t> wanted_;   // by decode_index: display index, -1 where not wanted
  hevc::SyntaxDecoder decoder_;
  std::exception_ptr demuxer_error_;
  bool ended_ = false, done_ = false;
  std::int64_t next_index_ = 0;
  std::size_t left_ = 0;  // wanted pictures not given yet
};

}  // namespace ove::reader
