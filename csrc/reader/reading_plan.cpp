#include "reader/reading_plan.h"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <set>
#include <string>
#include <utility>

#include "common/error.h"
#include "reader/codecs.h"

namespace ove::reader {

namespace {

constexpr std::int64_t kEnd = std::numeric_limits<std::int64_t>::max();

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

// For every picture, the earliest that a needed one, itself or after it, refers to (kEnd where none does).
std::vector<std::int64_t> earliest_reference(const VideoIndex& index, const std::vector<bool>& needed) {
  std::vector<std::int64_t> earliest(needed.size() + 1, kEnd);
  for (std::size_t i = needed.size(); i-- > 0;) {
    earliest[i] = earliest[i + 1];
    if (!needed[i]) continue;
    for (const std::int64_t other : index.decoded[i].references) earliest[i] = std::min(earliest[i], other);
  }
  return earliest;
}

}  // namespace

ReadingPlan::ReadingPlan(std::shared_ptr<const VideoIndex> index, std::vector<std::int64_t> frame_ids,
                         codec::Detail detail)
    : index_(std::move(index)), frame_ids_(std::move(frame_ids)) {
  const std::vector<bool> wanted = index_->flags(frame_ids_);
  const bool with_motion = detail.has_motion();  // which is derived from that of others
  const std::vector<bool> needed = with_motion ? index_->closure(wanted, VideoIndex::Edges::kCollocated) : wanted;
  std::vector<std::int64_t> shown(needed.size(), -1), last_use(needed.size(), -1);
  for (const std::int64_t id : frame_ids_) shown[at(index_->pictures[at(id)].decode_index)] = id;
  for (std::int64_t i = 0; i < std::ssize(needed); ++i) {
    if (!needed[at(i)] || !with_motion) continue;
    for (const std::int64_t other : index_->decoded[at(i)].collocated) last_use[at(other)] = i;
  }
  const codec::Detail motion{.amount = std::min(detail.amount, codec::Amount::kMotion)};
  for (std::int64_t i = 0; i < std::ssize(needed); ++i) {
    if (!needed[at(i)]) continue;
    needed_.push_back({i, shown[at(i)], wanted[at(i)] ? detail : motion, last_use[at(i)]});
    // A picture ends where the next one begins.
    const std::int64_t begin = index_->decoded[at(i)].packet;
    const bool last = i + 1 == std::ssize(needed);
    std::int64_t end = last ? kEnd : std::max(begin + 1, index_->decoded[at(i + 1)].packet);
    for (const Loss& loss : index_->lost) {
      if (loss.packet > begin) end = std::min(end, loss.packet);
    }
    if (ranges_.empty() || ranges_.back().second < begin) ranges_.emplace_back(begin, end);
    ranges_.back().second = end;
  }
}

bool ReadingPlan::go_to_next(media::Demuxer& demuxer) {
  while (range_ < ranges_.size() && ranges_[range_].second <= demuxer.next_index()) ++range_;
  if (range_ == ranges_.size()) return false;
  const std::int64_t packet = std::max(ranges_[range_].first, demuxer.next_index());
  const media::PacketPlace* place = index_->random_access_before(packet);
  if (place && place->index > demuxer.next_index()) demuxer.seek(*place);
  for (media::Packet skipped; demuxer.next_index() < packet && demuxer.read(skipped);) {
  }
  return true;
}

std::optional<codec::WantedPicture> ReadingPlan::wanted(const codec::AccessUnitTag& tag) {
  next_in_packet_ = tag.packet == packet_ ? next_in_packet_ + 1 : index_->first_decoded(tag.packet);
  packet_ = tag.packet;
  if (next_needed_ == needed_.size() || needed_[next_needed_].decode_index != next_in_packet_) return std::nullopt;
  const codec::KnownPicture& known = index_->decoded[at(next_in_packet_)];
  // The packet may also hold a picture that cannot be decoded, such as a RASL picture at the start.
  if (known.packet != packet_) return std::nullopt;
  // Where reading begins in the middle, the first zero of a start code may belong to the packet, or to the one before.
  if (std::abs(tag.size - index_->packet_bytes[at(next_in_packet_)]) > 1) {
    throw InvalidBitstreamError("packet " + std::to_string(packet_) +
                                " is not the one that was there before: the source has changed; open it again");
  }
  const Needed& needed = needed_[next_needed_++];
  return codec::WantedPicture{&known, index_->decoded, needed.detail, needed.last_use};
}

namespace {

// Coded pictures [begin, end) from a random access point to a needed one.
struct Stretch {
  std::int64_t begin, end;
};

// The stretches that hold the needed pictures. Groups that begin at a random access point are joined where one refers
// to the other, and where they follow one another without leaving out pictures that order counts are counted from.
std::vector<Stretch> stretches(const VideoIndex& index, const std::vector<bool>& needed) {
  const std::vector<std::int64_t> earliest = earliest_reference(index, needed);
  std::vector<Stretch> found;
  bool adjacent = false, complete = false;  // to the group before: it is needed; and of it no such picture is left out
  for (std::int64_t begin = 0, end = 0; begin < std::ssize(needed); begin = end) {
    const codec::KnownPicture& first = index.decoded[at(begin)];
    const bool joined =
        !first.starts_anew && (earliest[at(begin)] < begin || (adjacent && (complete || first.resets_order)));
    std::int64_t last = -1;
    complete = true;
    for (; end < std::ssize(needed) && (end == begin || !index.decoded[at(end)].random_access); ++end) {
      if (needed[at(end)]) last = end;
      const codec::KnownPicture& d = index.decoded[at(end)];
      complete = needed[at(end)] || (complete && d.format && d.dropping == codec::Dropping::kFree);
    }
    if (last >= 0) {
      if (found.empty() || !joined) found.push_back({begin, 0});
      found.back().end = last + 1;
    }
    adjacent = last >= 0;
  }
  return found;
}

// Those in force where the pictures of a stretch first need them; what replaces them later lies in the packets.
std::vector<std::shared_ptr<const codec::Bytes>> first_parameter_sets(const VideoIndex& index, Stretch stretch) {
  std::vector<std::shared_ptr<const codec::Bytes>> first;
  std::set<int> seen;
  const codec::ParameterSets* before = nullptr;
  for (std::int64_t i = stretch.begin; i < stretch.end; ++i) {
    const codec::ParameterSets* const sets = index.decoded[at(i)].parameter_sets.get();
    if (!sets || sets == std::exchange(before, sets)) continue;  // none are known of pictures that are not decoded
    for (const auto& unit : sets->units) {
      if (seen.insert(unit.slot).second) first.push_back(unit.nal_unit);
    }
  }
  return first;
}

// Flags over `decoded` of the coded pictures that begin in these packets.
std::vector<bool> coded_pictures(const VideoIndex& index, const std::vector<std::int64_t>& packets) {
  std::vector<bool> wanted(index.decoded.size());
  for (const std::int64_t packet : packets) {
    for (std::int64_t i = index.first_decoded(packet); i < std::ssize(wanted) && index.decoded[at(i)].packet == packet;
         ++i) {
      wanted[at(i)] = true;
    }
  }
  return wanted;
}

}  // namespace

std::vector<std::int64_t> pictures_that_may_lack_slices(const VideoIndex& index,
                                                        const std::vector<std::int64_t>& packets) {
  if (std::none_of(index.decoded.begin(), index.decoded.end(), [](const auto& d) { return d.in_parts; })) return {};
  const std::vector<bool> needed = index.closure(coded_pictures(index, packets), VideoIndex::Edges::kReferences);
  std::vector<std::int64_t> found;
  for (std::size_t id = 0; id < index.pictures.size(); ++id) {
    const IndexedPicture& picture = index.pictures[id];
    const auto first = needed.begin() + static_cast<std::ptrdiff_t>(picture.decode_index);
    if (std::find(first, first + picture.num_coded, true) != first + picture.num_coded) {
      found.push_back(static_cast<std::int64_t>(id));
    }
  }
  return found;
}

media::PixelDecoder::Options pixel_plan(const VideoIndex& index, const std::vector<std::int64_t>& packets,
                                        const media::StreamInfo& stream) {
  const std::vector<bool> wanted = coded_pictures(index, packets);
  const std::vector<bool> needed = index.closure(wanted, VideoIndex::Edges::kReferences);
  const std::vector<bool> taken = index.closure(wanted, VideoIndex::Edges::kDecoding);
  media::PixelDecoder::Options plan;
  plan.wanted = packets;
  for (std::size_t i = 0; i < needed.size(); ++i) {
    if (needed[i]) plan.known_bytes[index.decoded[i].packet] = index.packet_bytes[i];
  }
  plan.filter = make_packet_filter(stream.codec, stream.extradata);
  for (const Stretch& stretch : stretches(index, needed)) {
    media::PixelDecoder::Section section;
    section.begin = *index.random_access_before(index.decoded[at(stretch.begin)].packet);
    section.end = index.decoded[at(stretch.end - 1)].packet + 1;
    section.parameter_sets = first_parameter_sets(index, stretch);
    plan.sections.push_back(std::move(section));

    const codec::KnownPicture& first = index.decoded[at(stretch.begin)];
    const bool starts_inside = !first.resets_order || first.starts_anew;
    plan.incomplete |= starts_inside && names_what_precedes(stream.codec);
    for (std::int64_t i = stretch.begin; i < stretch.end; ++i) {
      const codec::KnownPicture& d = index.decoded[at(i)];
      if (!taken[at(i)]) plan.dropped.push_back(d.packet);
      plan.incomplete |= !d.complete;
    }
  }
  return plan;
}

}  // namespace ove::reader
