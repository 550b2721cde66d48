#include "reader/reading_plan.h"

#include <algorithm>
#include <array>
#include <limits>

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
                         hevc::Detail detail)
    : index_(std::move(index)), frame_ids_(std::move(frame_ids)) {
  const std::vector<bool> wanted = index_->flags(frame_ids_);
  const std::vector<bool> with_motion = index_->closure(wanted, VideoIndex::Edges::kCollocated);
  const std::vector<bool> needed = index_->closure(wanted, VideoIndex::Edges::kReferences);
  const std::vector<std::int64_t> earliest = earliest_reference(*index_, needed);
  std::vector<std::int64_t> shown(needed.size(), -1);
  for (const std::int64_t id : frame_ids_) shown[at(index_->pictures[at(id)].decode_index)] = id;

  for (std::int64_t i = 0; i < std::ssize(needed); ++i) {
    if (!needed[at(i)]) continue;
    const DecodedHeaders& d = index_->decoded[at(i)];
    const hevc::Detail of_this = wanted[at(i)]        ? detail
                                 : with_motion[at(i)] ? std::min(detail, hevc::Detail::kMotion)
                                                      : hevc::Detail::kHeaders;
    needed_.push_back({i, shown[at(i)], {d.nal_unit_type, d.sps, d.pps, d.poc, earliest[at(i)] >= i, of_this}});
    // A picture ends where the next one begins.
    const bool last = i + 1 == std::ssize(needed);
    const std::int64_t end = last ? kEnd : std::max(d.packet + 1, index_->decoded[at(i + 1)].packet);
    if (ranges_.empty() || ranges_.back().second < d.packet) ranges_.emplace_back(d.packet, end);
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

const hevc::KnownPicture* ReadingPlan::known(const hevc::AccessUnitTag& tag) {
  next_in_packet_ = tag.packet == packet_ ? next_in_packet_ + 1 : index_->first_decoded(tag.packet);
  packet_ = tag.packet;
  if (next_needed_ == needed_.size() || needed_[next_needed_].decode_index != next_in_packet_) return nullptr;
  // The packet may also hold a picture that cannot be decoded, such as a RASL picture at the start.
  if (index_->decoded[at(next_in_packet_)].packet != packet_) return nullptr;
  return &needed_[next_needed_++].known;
}

namespace {

// Decoded pictures [begin, end) from an IRAP picture to a needed one.
struct Stretch {
  std::int64_t begin, end;
};

bool resets_poc(const DecodedHeaders& d) { return hevc::is_idr(d.nal_unit_type) || hevc::is_bla(d.nal_unit_type); }

// The stretches that hold the needed pictures. Groups that begin with an IRAP picture are joined where one refers to
// the other, and where they follow one another without leaving out pictures from which order counts are counted.
std::vector<Stretch> stretches(const VideoIndex& index, const std::vector<bool>& needed) {
  const std::vector<std::int64_t> earliest = earliest_reference(index, needed);
  std::vector<Stretch> found;
  bool adjacent = false, complete = false;  // to the group before: it is needed; and of it no such picture is left out
  for (std::int64_t begin = 0, end = 0; begin < std::ssize(needed); begin = end) {
    const DecodedHeaders& first = index.decoded[at(begin)];
    const bool joined = earliest[at(begin)] < begin || (adjacent && (complete || resets_poc(first)));
    std::int64_t last = -1;
    complete = true;
    for (; end < std::ssize(needed) && (end == begin || !hevc::is_irap(index.decoded[at(end)].nal_unit_type)); ++end) {
      if (needed[at(end)]) last = end;
      complete = needed[at(end)] || (complete && !index.decoded[at(end)].poc_anchor);
    }
    if (last >= 0) {
      if (found.empty() || !joined) found.push_back({begin, 0});
      found.back().end = last + 1;
    }
    adjacent = last >= 0;
  }
  return found;
}

}  // namespace

media::PixelDecoder::Options pixel_plan(const VideoIndex& index, const std::vector<std::int64_t>& packets) {
  std::vector<bool> wanted(index.decoded.size());
  for (const std::int64_t packet : packets) {
    const std::int64_t i = index.first_decoded(packet);
    if (i < std::ssize(wanted) && index.decoded[at(i)].packet == packet) wanted[at(i)] = true;
  }
  const std::vector<bool> needed = index.closure(wanted, VideoIndex::Edges::kReferences);
  media::PixelDecoder::Options plan;
  plan.wanted = packets;
  for (const Stretch& stretch : stretches(index, needed)) {
    media::PixelDecoder::Section section;
    section.begin = *index.random_access_before(index.decoded[at(stretch.begin)].packet);
    section.end = index.decoded[at(stretch.end - 1)].packet + 1;
    const auto add = [&](const auto& owner, const std::vector<std::uint8_t>* nal_unit) {
      auto& sets = section.parameter_sets;
      if (nal_unit && std::none_of(sets.begin(), sets.end(), [&](auto& set) { return set.get() == nal_unit; })) {
        sets.emplace_back(owner, nal_unit);
      }
    };
    std::array<bool, 16> sps_seen{};
    std::array<bool, 64> pps_seen{};
    for (std::int64_t i = stretch.begin; i < stretch.end; ++i) {
      const DecodedHeaders& d = index.decoded[at(i)];
      if (!std::exchange(sps_seen[at(d.sps->id)], true)) {
        add(d.vps, d.vps.get());
        add(d.sps, &d.sps->nal_unit);
      }
      if (!std::exchange(pps_seen[at(d.pps->id)], true)) add(d.pps, &d.pps->nal_unit);
    }
    plan.sections.push_back(std::move(section));

    bool counted_from = false;  // order counts of needed pictures are counted from here on
    for (std::int64_t i = stretch.end; i-- > stretch.begin;) {
      const DecodedHeaders& d = index.decoded[at(i)];
      counted_from |= needed[at(i)];
      if (!needed[at(i)] && !(d.poc_anchor && counted_from)) plan.dropped.push_back(d.packet);
      if (resets_poc(d)) counted_from = false;
    }
  }
  return plan;
}

}  // namespace ove::reader
