// What the headers alone tell of a video: its pictures in display order, and which picture needs which.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "hevc/picture.h"
#include "media/demuxer.h"

namespace ove::reader {

struct IndexedPicture {
  std::int64_t packet = 0;        // number of its packet in the video stream
  std::int64_t decode_index = 0;  // index into VideoIndex::decoded
  double pts = 0;                 // seconds
  int poc = 0;
  hevc::SliceType type = hevc::SliceType::kI;
  bool random_access = false;  // IRAP
};

struct DecodedHeaders {
  std::int64_t packet = 0;
  std::vector<std::int64_t> references, collocated;  // decode_index
  bool poc_anchor = false;  // may be prevTid0Pic (8.3.1), from which later order counts are counted
};

struct VideoIndex {
  std::vector<IndexedPicture> pictures;  // display order
  std::vector<DecodedHeaders> decoded;   // decoding order

  // decode_index of the wanted pictures (display indices) and, with `edges`, of all that they need, as flags.
  enum class Edges : std::uint8_t { kReferences, kCollocated };
  std::vector<bool> closure(const std::vector<std::int64_t>& frame_ids, Edges edges) const;

  // Packets whose pictures a pixel decoder may leave out when only `frame_ids` are wanted.
  std::vector<std::int64_t> droppable_packets(const std::vector<std::int64_t>& frame_ids) const;
};

// Reads the whole video. Throws what VideoReader throws.
VideoIndex index_video(media::Demuxer demuxer, const hevc::Limits& limits);

}  // namespace ove::reader
