// What the headers alone tell of a video: its pictures in display order, which picture needs which, and what a decoder
// must know to begin at any of them. Of an index of some pictures (see PictureTable) the headers of the others were not
// read: nothing can be asked about these but where they are.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "codec/limits.h"
#include "codec/picture.h"
#include "media/demuxer.h"
#include "reader/loss.h"

namespace ove::reader {

struct IndexedPicture {
  std::int64_t packet = 0;        // number of its packet in the video stream
  std::int64_t packet_bytes = 0;  // size of that packet
  std::int64_t decode_index = 0;  // index into VideoIndex::decoded, of its first coded picture
  int num_coded = 1;              // which it is made of
  double pts = 0;                 // seconds
  int poc = 0;
  codec::SliceType type = codec::SliceType::kI;
  bool random_access = false;
};

struct VideoIndex {
  std::string codec;                              // FFmpeg's short name
  std::vector<IndexedPicture> pictures;           // display order
  std::vector<codec::KnownPicture> decoded;       // coded pictures, in decoding order
  std::vector<std::int64_t> packet_bytes;         // by index of `decoded`: the size of the packet that it begins in
  std::vector<media::PacketPlace> random_access;  // their packets, ascending
  std::vector<Loss> lost;                         // what of the video the index leaves out, ascending
  bool counts_from_start = true;  // else order counts of some groups are counted from where reading them began

  // Which pictures of `decoded` these need, themselves included. Throws std::logic_error for unknown pictures.
  enum class Edges : std::uint8_t {
    kReferences,
    kCollocated,  // for the derivation of motion
    kDecoding,    // as references; and, for its own sake alone, what the stream cannot be decoded without
  };
  std::vector<bool> closure(std::vector<bool> wanted, Edges edges) const;

  // Appends a coded picture as its headers are, the next in decoding order.
  void add(const codec::CodecPicture& picture);
  // Appends all coded pictures of an index of the packets that follow, which refer to none here.
  void append(VideoIndex part);
  // Appends a picture that was not looked at: decoding can begin there where it is a `sync` sample.
  void add_unknown(const media::PacketPlace& place, bool sync);
  bool knows(const IndexedPicture& picture) const {
    return decoded[static_cast<std::size_t>(picture.decode_index)].format != nullptr;
  }

  // Flags over `decoded` of these display indices. Throws std::out_of_range.
  std::vector<bool> flags(const std::vector<std::int64_t>& frame_ids) const;

  // The last random access packet up to this one; null where there is none.
  const media::PacketPlace* random_access_before(std::int64_t packet) const;

  // Throws DecodeError where the source, as it is now, is of another codec: parameter sets would be mistaken.
  void check_codec(const media::Demuxer& demuxer) const;

  // The first of `decoded` that begins in this packet or a later one.
  std::int64_t first_decoded(std::int64_t packet) const;
};

// Numbers a coded picture, and those that it refers to, anew: `moved` gives the new decode_index for each.
template <class Moved>
void renumber(codec::KnownPicture& picture, Moved moved) {
  picture.decode_index = moved(picture.decode_index);
  for (std::int64_t& other : picture.references) other = moved(other);
  for (std::int64_t& other : picture.collocated) other = moved(other);
  for (codec::RefLists& lists : picture.ref_lists) {
    for (auto& list : lists) {
      for (codec::RefEntry& entry : list) {
        if (entry.decode_index >= 0) entry.decode_index = moved(entry.decode_index);
      }
    }
  }
}

// Reads the whole video. Throws what VideoReader throws.
VideoIndex index_video(media::Demuxer demuxer, const codec::Limits& limits);
// The same without what is damaged, for which all pictures are decoded: those that the index has can be. Throws where
// there is no picture at all.
VideoIndex index_sound_pictures(media::Demuxer demuxer, const codec::Limits& limits);

}  // namespace ove::reader
