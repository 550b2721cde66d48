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
  std::int64_t before = 0,
               last = std::numeric_limits<std::int64_t>::min();  // pts of the sync sample before; the latest
  for (std::int64_t i = 0; i < std::ssize(packets); ++i) {
    if (packets[at(i)].key) {
      if (pts(i) <= last) return std::nullopt;
      before = i > 0 ? pts(table.groups_.back()) : pts(i);
      table.groups_.push_back(i);
    } else if (pts(i) <= before) {
      return std::nullopt;
    }
    last = std::max(last, pts(i));
  }
  table.groups_.push_back(std::ssize(packets));
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
  std::int64_t next = 0;  // packet
  const auto leave_out = [&](std::int64_t end) {
    for (; next < end; ++next) {
      index.pictures[at(shown_[at(next)])].decode_index = std::ssize(index.decoded);
      index.add_unknown(packets_[at(next)].place, packets_[at(next)].key);
    }
  };
  for (const Run run : runs(wanted)) {
    leave_out(run.begin);
    if (!take(demuxer, limits, run, index)) return std::nullopt;
    next = run.end;
  }
  leave_out(std::ssize(packets_));
  return index;
}

// Whether the picture of a packet is shown before that of a sync sample.
bool PictureTable::leads(std::int64_t packet, std::int64_t sync) const { return shown_[at(packet)] < shown_[at(sync)]; }

// What is read for these packets.
std::vector<PictureTable::Run> PictureTable::runs(const std::vector<bool>& wanted) const {
  std::vector<Run> found;
  for (std::size_t g = 0; g + 1 < groups_.size(); ++g) {
    const std::int64_t begin = groups_[g], end = groups_[g + 1];
    std::int64_t last = -1;
    bool leading = false;  // one that is wanted
    for (std::int64_t i = begin; i < end; ++i) {
      if (!wanted[at(i)]) continue;
      last = i;
      leading |= leads(i, begin);
    }
    if (last < 0) continue;
    if (!leading || g == 0) {
      found.push_back({begin, last + 1});
      continue;
    }
    if (found.empty() || found.back().end <= groups_[g - 1]) found.push_back({groups_[g - 1], 0});
    found.back().end = last + 1;
  }
  return found;
}

// Appends the pictures of a run; false where they are not as the tables have them.
bool PictureTable::take(media::Demuxer& demuxer, const codec::Limits& limits, Run run, VideoIndex& index) const {
  Group group;
  try {
    demuxer.seek(packets_[at(run.begin)].place);
    group = read_group(demuxer, limits, run.end);
  } catch (const Error&) {
    return false;
  }
  std::vector<codec::KnownPicture>& decoded = group.index.decoded;
  if (decoded.empty() || decoded.front().packet != run.begin || !decoded.front().random_access) return false;
  index.counts_from_start &= decoded.front().resets_order || run.begin == 0;

  // Leading pictures of the first group lack what is before it: they are left out, if the decoder has not done so.
  const std::int64_t first_end = *std::upper_bound(groups_.begin(), groups_.end(), run.begin);
  const auto left_out = [&](std::int64_t packet) { return packet < first_end && leads(packet, run.begin); };
  constexpr std::int64_t kNowhere = -1;
  std::vector<std::int64_t> moved(decoded.size(), kNowhere);
  VideoIndex part;
  std::size_t next = 0;
  for (std::int64_t packet = run.begin; packet < run.end; ++packet) {
    const std::size_t begin = next;
    while (next < decoded.size() && decoded[next].packet == packet) ++next;
    if (left_out(packet)) {
      index.pictures[at(shown_[at(packet)])].decode_index = std::ssize(index.decoded) + std::ssize(part.decoded);
      part.add_unknown(packets_[at(packet)].place, false);
      if (next > begin) part.decoded.back().dropping = decoded[begin].dropping;
      continue;
    }
    for (std::size_t i = begin; i < next; ++i) {
      moved[i] = std::ssize(part.decoded);
      part.decoded.push_back(std::move(decoded[i]));
      part.packet_bytes.push_back(group.index.packet_bytes[i]);
    }
  }
  bool whole = next == decoded.size();
  for (codec::KnownPicture& picture : part.decoded) {
    if (!picture.format) continue;
    renumber(picture, [&](std::int64_t i) {
      whole &= moved[at(i)] != kNowhere;
      return moved[at(i)];
    });
  }
  part.random_access = std::move(group.index.random_access);

  std::int64_t shown = 0, before = -1;
  for (const auto& picture : group.shown) {
    const std::int64_t packet = picture->tag.packet;
    if (left_out(packet)) continue;
    ++shown;
    const std::int64_t id = shown_[at(packet)];
    whole &= id > std::exchange(before, id) && picture->tag.size == packets_[at(packet)].place.size &&
             moved[at(picture->decode_index)] != kNowhere;
    IndexedPicture& indexed = index.pictures[at(id)];
    indexed.decode_index = std::ssize(index.decoded) + moved[at(picture->decode_index)];
    indexed.num_coded = picture->num_coded;
    indexed.poc = picture->poc;
    indexed.type = picture->type;
    indexed.random_access = picture->random_access;
  }
  for (std::int64_t packet = run.begin; packet < run.end; ++packet) shown += left_out(packet);
  if (!whole || shown != run.end - run.begin) return false;
  index.append(std::move(part));
  return true;
}

}  // namespace ove::reader
