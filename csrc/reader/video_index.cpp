#include "reader/video_index.h"

#include <algorithm>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>

#include "common/error.h"
#include "reader/video_reader.h"

namespace ove::reader {

std::vector<bool> VideoIndex::closure(std::vector<bool> wanted, Edges edges) const {
  std::int64_t earliest = std::ssize(decoded);  // that a picture of the closure refers to
  bool counted = false;  // in the group that begins at a random access point, or across its start: one follows
  // What a picture needs precedes it in decoding order.
  for (std::int64_t i = std::ssize(decoded); i-- > 0;) {
    const codec::KnownPicture& d = decoded[static_cast<std::size_t>(i)];
    if (wanted[static_cast<std::size_t>(i)] && !d.format) {
      throw std::logic_error("the headers of packet " + std::to_string(d.packet) + " were not read for this index");
    }
    if (wanted[static_cast<std::size_t>(i)]) {
      counted = true;
      for (const std::int64_t other : edges == Edges::kCollocated ? d.collocated : d.references) {
        wanted[static_cast<std::size_t>(other)] = true;
        earliest = std::min(earliest, other);
      }
    } else if (edges == Edges::kDecoding && counted) {
      wanted[static_cast<std::size_t>(i)] = d.dropping != codec::Dropping::kFree;
    }
    if (d.random_access) counted = earliest < i;
  }
  return wanted;
}

void VideoIndex::add(const codec::CodecPicture& picture) {
  const codec::AccessUnitTag& tag = picture.tag;
  codec::KnownPicture& known = decoded.emplace_back();
  static_cast<codec::PictureHeaders&>(known) = picture;
  known.packet = tag.packet;
  packet_bytes.push_back(tag.size);
  for (const codec::Slice& slice : picture.slices) known.ref_lists.push_back(slice.ref_list);
  if (!picture.random_access && decoded.size() > 1) return;  // nothing is read from before the first
  if (!random_access.empty() && random_access.back().index == tag.packet) return;
  random_access.push_back({tag.packet, tag.has_pts ? tag.pts : media::kNoTimestamp, tag.dts, tag.position, tag.size});
}

void VideoIndex::append(VideoIndex part) {
  const std::int64_t before = std::ssize(decoded);
  for (codec::KnownPicture& picture : part.decoded) {
    renumber(picture, [&](std::int64_t i) { return i + before; });
    decoded.push_back(std::move(picture));
  }
  packet_bytes.insert(packet_bytes.end(), part.packet_bytes.begin(), part.packet_bytes.end());
  random_access.insert(random_access.end(), part.random_access.begin(), part.random_access.end());
}

void VideoIndex::add_unknown(const media::PacketPlace& place, bool sync) {
  codec::KnownPicture& unknown = decoded.emplace_back();
  unknown.packet = place.index;
  unknown.decode_index = std::ssize(decoded) - 1;
  unknown.random_access = sync;
  packet_bytes.push_back(place.size);
  if (sync) random_access.push_back(place);
}

std::vector<bool> VideoIndex::flags(const std::vector<std::int64_t>& frame_ids) const {
  std::vector<bool> wanted(decoded.size());
  for (const std::int64_t id : frame_ids) {
    if (id < 0 || id >= std::ssize(pictures)) {
      throw std::out_of_range("frame " + std::to_string(id) + " is not in the video, which has " +
                              std::to_string(pictures.size()) + " pictures");
    }
    const IndexedPicture& picture = pictures[static_cast<std::size_t>(id)];
    for (int i = 0; i < picture.num_coded; ++i) wanted[static_cast<std::size_t>(picture.decode_index + i)] = true;
  }
  return wanted;
}

const media::PacketPlace* VideoIndex::random_access_before(std::int64_t packet) const {
  const auto after = std::upper_bound(random_access.begin(), random_access.end(), packet,
                                      [](std::int64_t p, const media::PacketPlace& place) { return p < place.index; });
  return after == random_access.begin() ? nullptr : &*std::prev(after);
}

std::int64_t VideoIndex::first_decoded(std::int64_t packet) const {
  const auto at = std::lower_bound(decoded.begin(), decoded.end(), packet,
                                   [](const codec::KnownPicture& d, std::int64_t p) { return d.packet < p; });
  return at - decoded.begin();
}

void VideoIndex::check_codec(const media::Demuxer& demuxer) const {
  if (demuxer.info().codec == codec) return;
  throw DecodeError(demuxer.name() + ": its codec is " + demuxer.info().codec + ", but was " + codec +
                    " when it was opened: the source has changed; open it again");
}

namespace {

// With an edit list a sample may come several times at the same time: only reading tells which of the packets it is.
void forget_ambiguous(std::vector<media::PacketPlace>& places) {
  std::map<std::pair<std::int64_t, std::int64_t>, int> count;
  for (const media::PacketPlace& place : places) ++count[{place.position, place.pts}];
  for (media::PacketPlace& place : places) {
    if (count[{place.position, place.pts}] > 1) place.position = -1;
  }
}

}  // namespace

VideoIndex index_video(media::Demuxer demuxer, const codec::Limits& limits) {
  VideoIndex index;
  index.codec = demuxer.info().codec;
  ReaderOptions options;
  options.detail = {.amount = codec::Amount::kHeaders};
  options.limits = limits;
  options.observe = [&](const codec::CodecPicture& p) { index.add(p); };
  VideoReader reader(std::move(demuxer), std::move(options));
  for (VideoPicture picture; reader.next(picture);) {
    const codec::CodecPicture& p = *picture.codec;
    index.pictures.push_back({.packet = p.tag.packet,
                              .packet_bytes = p.tag.size,
                              .decode_index = p.decode_index,
                              .num_coded = p.num_coded,
                              .pts = picture.pts,
                              .poc = p.poc,
                              .type = p.type,
                              .random_access = p.random_access});
  }
  forget_ambiguous(index.random_access);
  return index;
}

}  // namespace ove::reader
