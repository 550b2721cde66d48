#include <algorithm>

#include "hevc/picture_source.h"

namespace ove::hevc {

namespace {

[[noreturn]] void throw_changed() {
  throw InvalidBitstreamError("a picture is not the one that was there before: the source has changed");
}

}  // namespace

bool IndexSource::accepts(const NalContext& nal, bool first_slice_segment) {
  if (first_slice_segment) {
    wanted_ = options_.wanted(nal.tag);
    if (wanted_) {
      std::erase_if(kept_, [&](const auto& k) { return k.second.last_use < wanted_->known->decode_index; });
    }
  }
  return wanted_.has_value();
}

std::shared_ptr<const ActiveSets> IndexSource::activate(int pps_id, const NalContext& nal) {
  auto sets = std::static_pointer_cast<const ActiveSets>(wanted_->known->parameter_sets);
  if (sets->pps->id != pps_id || is_irap(nal.type) != wanted_->known->random_access) throw_changed();
  return sets;
}

void IndexSource::begin(const SliceHeader&, const NalContext&, const ActiveSets&, CodecPicture& picture) {
  wanted_->describe(picture);
}

codec::RefLists IndexSource::ref_lists(const SliceHeader& header, std::size_t slice, CodecPicture&) {
  const auto& slices = wanted_->known->ref_lists;
  if (slice >= slices.size()) throw_changed();
  for (std::size_t x = 0; x < 2; ++x) {
    if (std::ssize(slices[slice][x]) != header.num_ref_idx_active[x]) throw_changed();
  }
  return slices[slice];
}

std::shared_ptr<const CodecPicture> IndexSource::collocated(const RefEntry& entry) {
  const auto& needed = wanted_->known->collocated;
  if (std::find(needed.begin(), needed.end(), entry.decode_index) == needed.end()) return nullptr;
  const auto kept = kept_.find(entry.decode_index);
  if (kept == kept_.end()) throw_changed();
  return kept->second.picture;
}

void IndexSource::complete(const std::shared_ptr<CodecPicture>& picture, const Sps&, bool) {
  if (wanted_->last_use > wanted_->known->decode_index) {
    kept_[wanted_->known->decode_index] = {picture, wanted_->last_use};
  }
}

}  // namespace ove::hevc
