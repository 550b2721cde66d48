// What the headers alone tell of a video: its pictures in display order, which picture needs which, and what a decoder
// must know to begin at any of them.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "hevc/limits.h"
#include "hevc/picture.h"
#include "media/demuxer.h"

namespace ove::reader {

struct IndexedPicture {
  std::int64_t packet = 0;        // number of its packet in the video stream
  std::int64_t packet_bytes = 0;  // size of that packet
  std::int64_t decode_index = 0;  // index into VideoIndex::decoded
  double pts = 0;                 // seconds
  int poc = 0;
  hevc::SliceType type = hevc::SliceType::kI;
  bool random_access = false;  // IRAP
};

struct DecodedHeaders {
  std::int64_t packet = 0;
  std::vector<std::int64_t> references, collocated;  // decode_index
  hevc::NalUnitType nal_unit_type = hevc::NalUnitType::kTrailN;
  int poc = 0;
  bool poc_anchor = false;  // may be prevTid0Pic (8.3.1), from which later order counts are counted
  std::shared_ptr<const hevc::Sps> sps;
  std::shared_ptr<const hevc::Pps> pps;
  std::shared_ptr<const std::vector<std::uint8_t>> vps;  // NAL unit, null where there is none
};

struct VideoIndex {
  std::vector<IndexedPicture> pictures;           // display order
  std::vector<DecodedHeaders> decoded;            // decoding order
  std::vector<media::PacketPlace> random_access;  // packets of IRAP pictures, ascending

  // Which pictures of `decoded` these need, by all their references or only for the derivation of motion, themselves
  // included.
  enum class Edges : std::uint8_t { kReferences, kCollocated };
  std::vector<bool> closure(std::vector<bool> wanted, Edges edges) const;

  // Flags over `decoded` of these display indices. Throws std::out_of_range.
  std::vector<bool> flags(const std::vector<std::int64_t>& frame_ids) const;

  // The last random access packet up to this one; null where there is none.
  const media::PacketPlace* random_access_before(std::int64_t packet) const;

  // The first of `decoded` that begins in this packet or a later one.
  std::int64_t first_decoded(std::int64_t packet) const;
};

// Reads the whole video. Throws what VideoReader throws.
VideoIndex index_video(media::Demuxer demuxer, const hevc::Limits& limits);

}  // namespace ove::reader
