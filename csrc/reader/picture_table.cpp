#include "reader/picture_table.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>

#include "common/error.h"
#include "reader/codecs.h"
#include "reader/video_reader.h"

namespace ove::reader {

namespace {

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

// The pictures of some packets from a random access point on.
struct Group {
  VideoIndex index;                                               // of coded pictures alone
  std::vector<std::shared_ptr<const codec::CodecPicture>> shown;  // display order
};

// Reads up to packet `end`.
Group read_group(media::Demuxer& demuxer, const codec::Limits& limits, std::int64_t end) {
  Group group;
  codec::DecoderOptions options;
  options.detail = [](const codec::AccessUnitTag&) { return codec::Detail{.amount = codec::Amount::kHeaders}; };
  options.limits = limits;
  options.observe = [&](const codec::CodecPicture& picture) { group.index.add(picture); };
  const auto decoder = make_decoder(demuxer.info().codec, std::move(options));
  decoder->set_extradata(demuxer.info().extradata);
  const auto drain = [&] {
    while (auto picture = decoder->pop()) group.shown.push_back(std::move(picture));
  };
  for (media::Packet packet; demuxer.next_index() < end && demuxer.read(packet); drain()) {
    decoder->decode(packet.data, tag_of(packet), packet.position);
  }
  decoder->flush();
  drain();
  return group;
}

// Whether the group needs nothing before it.
bool stands_alone(const VideoIndex& group) {
  return !group.decoded.empty() && group.decoded.front().random_access && group.decoded.front().resets_order;
}

}  // namespace

std::optional<PictureTable> PictureTable::read(media::Demuxer& demuxer) {
  PictureTable table;
  table.packets_ = demuxer.table();
  const std::vector<media::TabledPacket>& packets = table.packets_;
  const media::Rational base = demuxer.info().time_base;
  if (packets.empty() || !packets.front().key || base.num <= 0 || base.den <= 0) return std::nullopt;
  std::vector<std::int64_t> order(packets.size());
  std::iota(order.begin(), order.end(), 0);
  const auto pts = [&](std::int64_t packet) { return packets[at(packet)].place.pts; };
  std::int64_t first = 0, last = std::numeric_limits<std::int64_t>::min();  // pts of a sync sample; the latest one
  for (std::int64_t i = 0; i < std::ssize(packets); ++i) {
    if (packets[at(i)].key ? pts(i) <= last : pts(i) <= first) return std::nullopt;
    if (packets[at(i)].key) first = pts(i);
    last = std::max(last, pts(i));
  }
  std::sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) { return pts(a) < pts(b); });
  table.shown_.resize(packets.size());
  for (std::int64_t i = 0; i < std::ssize(order); ++i) {
    if (i > 0 && pts(order[at(i)]) == pts(order[at(i - 1)])) return std::nullopt;
    const media::PacketPlace& place = packets[at(order[at(i)])].place;
    table.shown_[at(place.index)] = i;
    table.pictures_.push_back({place.index, place.size, static_cast<double>(place.pts) * base.num / base.den});
  }
  return table;
}

std::optional<VideoIndex> PictureTable::index(media::Demuxer& demuxer, const codec::Limits& limits,
                                              const std::vector<std::int64_t>& frame_ids) const {
  std::vector<bool> wanted(packets_.size());
  for (const std::int64_t id : frame_ids) {
    if (id < 0 || id >= std::ssize(pictures_)) {
      throw std::out_of_range("frame " + std::to_string(id) + " is not in the video, which has " +
                              std::to_string(pictures_.size()) + " pictures");
    }
    wanted[at(pictures_[at(id)].packet)] = true;
  }
  VideoIndex index;
  index.codec = demuxer.info().codec;
  for (const Picture& picture : pictures_) {
    index.pictures.push_back({.packet = picture.packet, .packet_bytes = picture.packet_bytes, .pts = picture.pts});
  }
  for (std::int64_t begin = 0, end = 0; begin < std::ssize(packets_); begin = end) {
    std::int64_t known = begin;  // packets from here on are not
    for (end = begin; end < std::ssize(packets_) && (end == begin || !packets_[at(end)].key); ++end) {
      if (wanted[at(end)]) known = end + 1;
    }
    if (known > begin) {
      Group group;
      try {
        demuxer.seek(packets_[at(begin)].place);
        group = read_group(demuxer, limits, known);
      } catch (const Error&) {
        return std::nullopt;
      }
      if (!stands_alone(group.index) || std::ssize(group.shown) != known - begin) return std::nullopt;
      std::int64_t before = -1;
      for (const auto& picture : group.shown) {
        const std::int64_t id = shown_[at(picture->tag.packet)];
        if (id <= std::exchange(before, id)) return std::nullopt;
        if (picture->tag.size != packets_[at(picture->tag.packet)].place.size) return std::nullopt;
        IndexedPicture& indexed = index.pictures[at(id)];
        indexed.decode_index = std::ssize(index.decoded) + picture->decode_index;
        indexed.num_coded = picture->num_coded;
        indexed.poc = picture->poc;
        indexed.type = picture->type;
        indexed.random_access = picture->random_access;
      }
      index.append(std::move(group.index));
    }
    for (std::int64_t i = known; i < end; ++i) {
      index.pictures[at(shown_[at(i)])].decode_index = std::ssize(index.decoded);
      index.add_unknown(packets_[at(i)].place, i == begin);
    }
  }
  return index;
}

}  // namespace ove::reader
