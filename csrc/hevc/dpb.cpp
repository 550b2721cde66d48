#include "hevc/dpb.h"

#include <algorithm>
#include <string>

namespace ove::hevc {

ReferencePictureSet Dpb::begin_picture(const SliceHeader& header, const Sps& sps, int poc, bool new_sequence,
                                       bool is_cra) {
  ReferencePictureSet rps;
  if (new_sequence) {
    for (Entry& e : entries_) e.marking = Marking::kUnused;
    // NoOutputOfPriorPicsFlag
    if (!first_picture_ && (is_cra || header.no_output_of_prior_pics)) {
      entries_.clear();
    } else {
      flush();
      remove_unused();
    }
  } else {
    rps = derive_rps(header, sps, poc);
    remove_unused();
    while (output_is_due(sps) || entries_.size() >= static_cast<std::size_t>(sps.max_dec_pic_buffering)) {
      if (std::none_of(entries_.begin(), entries_.end(), [](const Entry& e) { return e.needed_for_output; })) break;
      bump();
    }
  }
  first_picture_ = false;
  return rps;
}

ReferencePictureSet Dpb::derive_rps(const SliceHeader& header, const Sps& sps, int poc) {
  ReferencePictureSet rps;
  std::vector<Marking> marking(entries_.size(), Marking::kUnused);
  const auto find = [&](auto matches) -> std::size_t {
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      if (entries_[i].marking != Marking::kUnused && matches(entries_[i])) return i;
    }
    return entries_.size();
  };
  const auto take = [&](std::size_t i, Marking as) {
    if (i == entries_.size()) return std::shared_ptr<CodecPicture>();
    marking[i] = as;
    return entries_[i].picture;
  };
  const int lsb_mask = (1 << sps.log2_max_poc_lsb) - 1;
  for (const LongTermPicture& lt : header.long_term_rps) {
    const int wanted = lt.has_msb ? poc + lt.poc : lt.poc;
    const std::size_t i =
        find([&](const Entry& e) { return (lt.has_msb ? e.picture->poc : e.picture->poc & lsb_mask) == wanted; });
    const auto picture = take(i, Marking::kLongTerm);
    if (lt.used) rps.lt_curr.push_back({picture, picture ? picture->poc : wanted, true});
  }
  const auto short_term = [&](const std::vector<ShortTermRefPicSet::Entry>& set, std::vector<RpsEntry>& curr) {
    for (const auto& [delta_poc, used] : set) {
      const int wanted = poc + delta_poc;
      const std::size_t i =
          find([&](const Entry& e) { return e.marking == Marking::kShortTerm && e.picture->poc == wanted; });
      const auto picture = take(i, Marking::kShortTerm);
      if (used) curr.push_back({picture, wanted, false});
    }
  };
  short_term(header.short_term_rps.negative, rps.st_curr_before);
  short_term(header.short_term_rps.positive, rps.st_curr_after);
  for (std::size_t i = 0; i < entries_.size(); ++i) entries_[i].marking = marking[i];
  return rps;
}

void Dpb::add(std::shared_ptr<CodecPicture> picture, const Sps& sps, bool needed_for_output) {
  if (needed_for_output) {
    for (Entry& e : entries_) {
      if (e.needed_for_output && e.picture->poc > picture->poc) ++e.latency;
    }
  }
  entries_.push_back({std::move(picture), Marking::kShortTerm, needed_for_output, 0});
  while (output_is_due(sps)) bump();
}

void Dpb::flush() {
  while (std::any_of(entries_.begin(), entries_.end(), [](const Entry& e) { return e.needed_for_output; })) bump();
}

std::shared_ptr<CodecPicture> Dpb::pop_output() {
  if (output_.empty()) return nullptr;
  auto picture = std::move(output_.front());
  output_.pop_front();
  return picture;
}

std::shared_ptr<CodecPicture> Dpb::find(std::int64_t decode_index) const {
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& e) { return e.picture->decode_index == decode_index; });
  return found == entries_.end() ? nullptr : found->picture;
}

bool Dpb::holds(int poc_lsb, int mask) const {
  return std::any_of(entries_.begin(), entries_.end(), [&](const Entry& e) {
    return e.marking != Marking::kUnused && (e.picture->poc & mask) == poc_lsb;
  });
}

bool Dpb::output_is_due(const Sps& sps) const {
  const int waiting =
      static_cast<int>(std::count_if(entries_.begin(), entries_.end(), [](auto& e) { return e.needed_for_output; }));
  if (waiting > sps.max_num_reorder_pics) return true;
  if (sps.max_latency_increase_plus1 == 0) return false;
  // Neither sum nor latency fits an int where a stream says so.
  const std::int64_t max_latency = std::int64_t{sps.max_num_reorder_pics} + sps.max_latency_increase_plus1 - 1;
  return std::any_of(entries_.begin(), entries_.end(),
                     [&](const Entry& e) { return e.needed_for_output && e.latency >= max_latency; });
}

// C.5.2.4
void Dpb::bump() {
  const auto next = std::min_element(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) {
    if (a.needed_for_output != b.needed_for_output) return a.needed_for_output;
    return a.picture->poc < b.picture->poc;
  });
  output_.push_back(next->picture);
  next->needed_for_output = false;
  remove_unused();
}

void Dpb::remove_unused() {
  std::erase_if(entries_, [](const Entry& e) { return !e.needed_for_output && e.marking == Marking::kUnused; });
}

codec::RefLists make_ref_pic_lists(const SliceHeader& header, const ReferencePictureSet& rps) {
  codec::RefLists lists;
  for (std::size_t x = 0; x < 2; ++x) {
    if (header.num_ref_idx_active[x] == 0) continue;
    std::vector<RpsEntry> candidates;
    for (const auto* set : {x == 0 ? &rps.st_curr_before : &rps.st_curr_after,
                            x == 0 ? &rps.st_curr_after : &rps.st_curr_before, &rps.lt_curr}) {
      candidates.insert(candidates.end(), set->begin(), set->end());
    }
    // The set is that of the picture's first slice.
    if (std::ssize(candidates) != header.num_pic_total_curr()) {
      throw InvalidBitstreamError("the slices of a picture have different reference picture sets");
    }
    for (int i = 0; i < header.num_ref_idx_active[x]; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const RpsEntry& entry =
          candidates[header.list_modification[x] ? header.list_entry[x][at] : at % candidates.size()];
      if (!entry.picture) {
        throw InvalidBitstreamError("the reference picture with POC " + std::to_string(entry.poc) +
                                    " is missing: an earlier part of the stream is lost");
      }
      lists[x].push_back({.poc = entry.poc,
                          .is_long_term = entry.is_long_term,
                          .structure = codec::Structure::kFrame,
                          .decode_index = entry.picture->decode_index});
    }
  }
  return lists;
}

}  // namespace ove::hevc
