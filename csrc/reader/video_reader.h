// Demuxer and syntax decoder joined: the pictures of a video with their time stamps.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "codec/decoder.h"
#include "media/demuxer.h"
#include "reader/reading_plan.h"

namespace ove::reader {

struct VideoPicture {
  std::shared_ptr<const codec::CodecPicture> codec;
  std::int64_t index = 0;  // among the pictures given: of the display order, or of the decoding order
  double pts = 0;          // seconds
};

codec::AccessUnitTag tag_of(const media::Packet& packet);

struct ReaderOptions {
  int threads = 1;  // 0: as many as there are cores
  codec::Order order = codec::Order::kDisplay;
  bool as_coded = false;  // in decoding order: fields apart, as they are stored
  codec::Detail detail;   // of the pictures given
  codec::Limits limits;
  std::function<void(const codec::CodecPicture&)> observe;
  // If set, only `frame_ids` (display indices, ascending) are given, in display order, and nothing is decoded that they
  // do not need. The index must be of the same source.
  std::shared_ptr<const VideoIndex> index;
  std::vector<std::int64_t> frame_ids;
  // With an index: sees every picture that is given, and its display index, when it is decoded, in any order and on
  // several threads at a time. next() then gives it without its residual.
  std::function<void(const codec::CodecPicture&, std::int64_t)> process;
};

// Not for use from several threads at a time. Holds a bounded number of pictures, however long the video is.
class VideoReader {
 public:
  // Throws UnsupportedStreamError where the codec is none that the library decodes.
  VideoReader(media::Demuxer demuxer, ReaderOptions options);

  const media::Demuxer& demuxer() const { return demuxer_; }
  media::Demuxer take_demuxer() && { return std::move(demuxer_); }

  // Takes the next picture; false at the end. Damage throws, once the pictures that precede it were given; messages
  // name the source, positions are byte offsets in it.
  bool next(VideoPicture& picture);

 private:
  codec::DecoderOptions decoder_options();
  bool decode(VideoPicture& picture);
  bool decode_in_order(VideoPicture& picture);
  void feed();
  bool give(std::shared_ptr<const codec::CodecPicture> codec, VideoPicture& picture);

  media::Demuxer demuxer_;
  ReaderOptions options_;
  std::unique_ptr<ReadingPlan> plan_;  // where an index is given
  std::unique_ptr<codec::Decoder> decoder_;
  std::shared_ptr<const std::vector<std::uint8_t>> extradata_;  // of the last packet
  std::exception_ptr demuxer_error_;
  bool ended_ = false, done_ = false;
  std::int64_t next_index_ = 0;
  // of a plan: pictures decoded before others that are shown earlier, and why there are no more
  std::map<std::int64_t, VideoPicture> early_;
  std::size_t next_wanted_ = 0;
  std::exception_ptr failure_;
};

}  // namespace ove::reader
