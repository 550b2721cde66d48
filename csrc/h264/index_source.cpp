#include <algorithm>

#include "h264/picture_source.h"
#include "h264/references.h"

namespace ove::h264 {

namespace {

[[noreturn]] void throw_changed() {
  throw InvalidBitstreamError("a picture is not the one that was there before: the source has changed");
}

}  // namespace

std::shared_ptr<const ActiveSets> IndexSource::activate(int pps_id, NalHeader, const codec::AccessUnitTag& tag,
                                                        bool may_begin) {
  if (may_begin) {
    wanted_ = options_.wanted(tag);
    if (wanted_) {
      std::erase_if(kept_, [&](const auto& k) { return k.second.last_use < wanted_->known->decode_index; });
    }
  }
  if (!wanted_) return nullptr;
  auto sets = std::static_pointer_cast<const ActiveSets>(wanted_->known->parameter_sets);
  if (!sets->pps.contains(pps_id)) throw_changed();
  return sets;
}

bool IndexSource::accepts(const SliceHeader& header) {
  if (header.structure != wanted_->known->structure) throw_changed();
  return true;
}

void IndexSource::begin(const SliceHeader&, const ActiveSets&, bool, CodedPicture& picture,
                        const codec::AccessUnitTag&) {
  at_work_ = wanted_;
  wanted_->describe(picture);
}

bool IndexSource::follows() const {
  return at_work_ && wanted_ && at_work_->known->decode_index + 1 == wanted_->known->decode_index;
}

void IndexSource::add_slice(SliceContext& context, const Sps&, Slice& slice, CodedPicture& picture) {
  const codec::KnownPicture& known = *at_work_->known;
  const std::size_t index = picture.slices.size();
  if (index >= known.ref_lists.size()) throw_changed();
  const RefLists& lists = known.ref_lists[index];
  for (std::size_t x = 0; x < 2; ++x) {
    if (std::ssize(lists[x]) != context.header.num_ref_idx_active[x]) throw_changed();
    for (const RefEntry& entry : lists[x]) {
      if (entry.decode_index == kBeforeStart) context.may_miss_references = true;
    }
  }
  slice.ref_list = lists;
  if (context.header.mbaff) slice.field_ref_list = field_lists(lists);
  if (slice.type == SliceType::kB && picture.detail.amount != codec::Amount::kBits) {
    const RefEntry& entry = lists[1][0];
    set_collocated(coded(entry), entry.structure, context.collocated, picture);
  }
}

// The collocated pictures of a frame that are kept. Others are all intra.
CodedFrame IndexSource::coded(const RefEntry& entry) const {
  CodedFrame result;
  if (entry.decode_index < 0) return result;
  result.field_poc = field_counts(entry);
  const auto kept = [&](std::int64_t index) -> std::shared_ptr<const CodecPicture> {
    const auto& needed = at_work_->known->collocated;
    if (std::find(needed.begin(), needed.end(), index) == needed.end()) return nullptr;
    const auto found = kept_.find(index);
    if (found == kept_.end()) throw_changed();
    return found->second.picture;
  };
  const auto all = at_work_->all;
  const auto first = static_cast<std::size_t>(entry.decode_index);
  if (!is_field(all[first].structure)) {
    result.frame = kept(entry.decode_index);
    return result;
  }
  const std::size_t p = parity(all[first].structure);
  result.fields[p] = kept(entry.decode_index);
  if (first + 1 < all.size() && all[first + 1].structure == field_of(1 - p)) {
    result.fields[1 - p] = kept(entry.decode_index + 1);
  }
  return result;
}

// The order counts of the fields of a frame. Those of an index are as decoded; memory_management_control_operation 5
// resets them afterwards: those of a frame both by the same amount, that of a first field to 0.
std::array<int, 2> IndexSource::field_counts(const RefEntry& entry) const {
  const auto all = at_work_->all;
  if (entry.decode_index >= std::ssize(all)) throw_changed();
  const codec::KnownPicture& first = all[static_cast<std::size_t>(entry.decode_index)];
  std::array<int, 2> counts = first.field_poc;
  if (!is_field(first.structure)) {
    const int before = is_field(entry.structure) ? counts[parity(entry.structure)] : std::min(counts[0], counts[1]);
    for (int& count : counts) count += entry.poc - before;
    return counts;
  }
  if (first.resets_order && !first.starts_anew) counts.fill(0);  // an IDR picture has 0 as well
  if (entry.decode_index + 1 < std::ssize(all)) {
    const codec::KnownPicture& second = (&first)[1];
    const std::size_t p = parity(second.structure);
    if (second.structure == field_of(p) && p != parity(first.structure)) counts[p] = second.poc;
  }
  return counts;
}

// 8.4.2.1
std::array<RefLists, 2> IndexSource::field_lists(const RefLists& lists) const {
  std::array<RefLists, 2> result;
  for (std::size_t own = 0; own < 2; ++own) {
    for (std::size_t x = 0; x < 2; ++x) {
      for (const RefEntry& entry : lists[x]) {
        const bool there = entry.decode_index >= 0;
        const std::array<int, 2> counts = there ? field_counts(entry) : std::array<int, 2>{};
        for (const std::size_t p : {own, 1 - own}) {
          result[own][x].push_back({counts[p], entry.is_long_term, field_of(p), entry.decode_index});
        }
      }
    }
  }
  return result;
}

void IndexSource::complete(const std::shared_ptr<CodedPicture>& picture, const SliceHeader&, const Sps&) {
  if (at_work_->last_use > at_work_->known->decode_index) {
    kept_[at_work_->known->decode_index] = {picture, at_work_->last_use};
  }
}

}  // namespace ove::h264
