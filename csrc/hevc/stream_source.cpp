#include <algorithm>
#include <span>
#include <string>

#include "bitstream/bit_reader.h"
#include "hevc/picture_source.h"

namespace ove::hevc {

using codec::Limits;

// A set that is repeated stays the same object.
void StreamSource::take_parameter_set(const NalUnit& unit, NalUnitType type, std::int64_t position) {
  options_.limits.check(&Limits::max_parameter_set_bytes, std::ssize(unit.bytes),
                        "the number of bytes of a parameter set");
  codec::Bytes nal(unit.bytes.begin(), unit.bytes.end());
  if (type == NalUnitType::kVps) {
    if (nal.size() == kNalHeaderSize) return;    // as useless as any other, which is not looked at
    auto& vps = vps_[nal[kNalHeaderSize] >> 4];  // vps_video_parameter_set_id
    if (!vps || *vps != nal) vps = std::make_shared<const codec::Bytes>(std::move(nal));
    return;
  }
  const auto take = [&](auto& sets, auto parsed) {
    parsed.nal_unit = std::move(nal);
    sets[static_cast<std::size_t>(parsed.id)] = std::make_shared<const decltype(parsed)>(std::move(parsed));
  };
  const auto repeats = [&](const auto& set) { return set && set->nal_unit == nal; };
  const auto rbsp = [&] { return to_rbsp(unit.bytes.subspan(kNalHeaderSize)); };
  try {
    if (type == NalUnitType::kSps) {
      if (std::none_of(sps_.begin(), sps_.end(), repeats)) take(sps_, parse_sps(rbsp(), options_.limits));
    } else {
      if (std::none_of(pps_.begin(), pps_.end(), repeats)) take(pps_, parse_pps(rbsp()));
    }
  } catch (const InvalidBitstreamError& error) {
    // An additional one may be broken without harm.
    if (!broken_) broken_ = std::make_exception_ptr(InvalidBitstreamError(error.what(), position));
  }
}

bool StreamSource::starts_sequence(NalUnitType type) const {
  return is_irap(type) && (is_idr(type) || is_bla(type) || expect_sequence_);
}

// Decoding starts at a random access point; RASL pictures that refer to what precedes it are not decodable.
bool StreamSource::accepts(const NalContext& nal, bool) {
  return !(expect_sequence_ && !is_irap(nal.type)) && !(is_rasl(nal.type) && skip_rasl_);
}

std::shared_ptr<const ActiveSets> StreamSource::activate(int pps_id, const NalContext& nal) {
  const auto& pps = pps_[static_cast<std::size_t>(pps_id)];
  if (!pps) explain();
  if (!pps)
    throw InvalidBitstreamError("a slice names picture parameter set " + std::to_string(pps_id) + ", which is missing");
  // Inside a sequence an SPS keeps its content: at a CRA picture another one tells of another stream.
  sps_changes_ = nal.type == NalUnitType::kCra && active_sps_ && sps_[static_cast<std::size_t>(pps->sps_id)] &&
                 sps_[static_cast<std::size_t>(pps->sps_id)] != active_sps_;
  if (starts_sequence(nal.type) || sps_changes_) {
    const auto& sps = sps_[static_cast<std::size_t>(pps->sps_id)];
    if (!sps) {
      explain();
      throw InvalidBitstreamError("a slice names sequence parameter set " + std::to_string(pps->sps_id) +
                                  ", which is missing");
    }
    active_sps_ = sps;
  } else if (pps->sps_id != active_sps_->id) {
    throw InvalidBitstreamError("the sequence parameter set changes inside a coded video sequence");
  }
  const auto& vps = vps_[static_cast<std::size_t>(active_sps_->vps_id)];
  if (!sets_ || sets_->sps != active_sps_ || sets_->pps != pps || sets_vps_ != vps) {
    sets_ = make_active_sets(active_sps_, pps, vps);
    sets_vps_ = vps;
  }
  return sets_;
}

namespace {

// Whether order counts of later pictures may be counted from this one: it may be prevTid0Pic.
bool is_poc_anchor(const NalContext& nal) {
  return nal.temporal_id == 0 && !is_rasl(nal.type) && !is_radl(nal.type) && !is_sub_layer_non_reference(nal.type);
}

}  // namespace

// 8.3.1
int StreamSource::picture_order_count(const SliceHeader& header, const NalContext& nal, const Sps& sps,
                                      bool new_sequence) {
  const int max_lsb = 1 << sps.log2_max_poc_lsb;
  const int lsb = header.pic_order_cnt_lsb;
  std::int64_t msb = 0;
  if (!new_sequence) {
    const int prev_lsb = prev_tid0_poc_ & (max_lsb - 1);
    msb = std::int64_t{prev_tid0_poc_} - prev_lsb;
    if (lsb < prev_lsb && prev_lsb - lsb >= max_lsb / 2) {
      msb += max_lsb;
    } else if (lsb > prev_lsb && lsb - prev_lsb > max_lsb / 2) {
      msb -= max_lsb;
    }
  }
  const std::int64_t poc = msb + lsb;
  // Differences between two order counts are to fit an int too.
  if (poc < -(std::int64_t{1} << 30) || poc > std::int64_t{1} << 30) {
    throw InvalidBitstreamError("a picture order count is out of range");
  }
  if (is_poc_anchor(nal)) prev_tid0_poc_ = static_cast<int>(poc);
  return static_cast<int>(poc);
}

// Whether a CRA picture inside a sequence is where two streams were joined: what its leading pictures refer to is not
// there. They are left out then, as at the start of a stream.
bool StreamSource::is_joint(const SliceHeader& header, const NalContext& nal, const Sps& sps) const {
  if (nal.type != NalUnitType::kCra || starts_sequence(nal.type)) return false;
  if (sps_changes_) return true;
  const int lsb = header.pic_order_cnt_lsb;
  const int mask = (1 << sps.log2_max_poc_lsb) - 1;
  const auto& set = header.short_term_rps.negative;
  return std::any_of(set.begin(), set.end(),
                     [&](const auto& entry) { return !dpb_.holds((lsb + entry.delta_poc) & mask, mask); });
}

void StreamSource::begin(const SliceHeader& header, const NalContext& nal, const ActiveSets& sets,
                         CodecPicture& picture) {
  const Sps& sps = *sets.sps;
  const bool joint = is_joint(header, nal, sps);
  const bool new_sequence = starts_sequence(nal.type) || joint;
  picture.starts_anew = joint || (new_sequence && header.no_output_of_prior_pics);
  if (is_irap(nal.type)) skip_rasl_ = new_sequence;
  if (new_sequence) expect_sequence_ = false;
  picture.poc = picture_order_count(header, nal, sps, new_sequence);
  picture.field_poc = {picture.poc, picture.poc};
  picture.random_access = is_irap(nal.type);
  picture.resets_order = is_idr(nal.type) || is_bla(nal.type) || joint;
  picture.dropping = is_poc_anchor(nal) ? codec::Dropping::kUnlessCounted : codec::Dropping::kFree;
  picture.referable = !is_sub_layer_non_reference(nal.type) || nal.temporal_id + 1 < sps.max_sub_layers;
  picture.detail = options_.detail(nal.tag);
  rps_ = dpb_.begin_picture(header, sps, picture.poc, new_sequence, nal.type == NalUnitType::kCra && !joint);
  const std::int64_t held = static_cast<std::int64_t>(dpb_.size()) + 1;
  options_.limits.check(&Limits::max_dpb_pictures, std::max<std::int64_t>(held, sps.max_dec_pic_buffering),
                        "the number of pictures in the decoded picture buffer");
  options_.limits.check(&Limits::max_dpb_luma_samples, held * sps.width * sps.height,
                        "the number of luma samples in the decoded picture buffer");
}

codec::RefLists StreamSource::ref_lists(const SliceHeader& header, std::size_t, CodecPicture& picture) {
  codec::RefLists lists = make_ref_pic_lists(header, rps_);
  auto& references = picture.references;
  for (const auto& list : lists) {
    for (const RefEntry& entry : list) {
      if (std::find(references.begin(), references.end(), entry.decode_index) == references.end()) {
        references.push_back(entry.decode_index);
      }
    }
  }
  return lists;
}

std::shared_ptr<const CodecPicture> StreamSource::collocated(const RefEntry& entry) {
  auto picture = dpb_.find(entry.decode_index);
  return picture->type == SliceType::kI ? nullptr : picture;
}

void StreamSource::complete(const std::shared_ptr<CodecPicture>& picture, const Sps& sps, bool needed_for_output) {
  dpb_.add(picture, sps, needed_for_output);
}

}  // namespace ove::hevc
