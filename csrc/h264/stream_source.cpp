#include <algorithm>
#include <string>
#include <string_view>

#include "bitstream/bit_reader.h"
#include "h264/picture_source.h"
#include "h264/references.h"

namespace ove::h264 {

using codec::Limits;

namespace {

constexpr std::uint8_t kUserData = 5, kRecoveryPoint = 6;  // payloadType, D.1.1

}  // namespace

// A set that is repeated stays the same object. A PPS is parsed when it is used, because it depends on its SPS.
void StreamSource::take_parameter_set(const NalUnit& unit, NalUnitType type) {
  options_.limits.check(&Limits::max_parameter_set_bytes, std::ssize(unit.bytes),
                        "the number of bytes of a parameter set");
  codec::Bytes nal(unit.bytes.begin(), unit.bytes.end());
  const codec::Bytes rbsp = to_rbsp(unit.bytes.subspan(kNalHeaderSize));
  if (type == NalUnitType::kSps) {
    if (std::any_of(sps_.begin(), sps_.end(), [&](const auto& set) { return set && set->nal_unit == nal; })) return;
    Sps sps = parse_sps(rbsp, options_.limits);
    sps.nal_unit = std::move(nal);
    const auto id = static_cast<std::size_t>(sps.id);
    sps_[id] = std::make_shared<const Sps>(std::move(sps));
  } else {
    const PpsIds ids = parse_pps_ids(rbsp);
    PpsUnit& pps = pps_[ids.id];
    if (pps.nal_unit && *pps.nal_unit == nal) return;
    pps = {ids.sps_id, std::make_shared<const codec::Bytes>(std::move(nal))};
  }
  sets_changed_ = true;
}

// D.1.7, user_data_unregistered: x264 writes its build, and all its options, into the first access unit.
void StreamSource::read_x264_build(std::span<const std::uint8_t> message) {
  constexpr std::string_view kUuid = "\xDC\x45\xE9\xBD\xE6\xD9\x48\xB7\x96\x2C\xD8\x20\xD9\x23\xEE\xEF";
  constexpr std::string_view kName = "x264 - core ";
  const std::string_view text(reinterpret_cast<const char*>(message.data()), message.size());
  if (!text.starts_with(kUuid) || !text.substr(kUuid.size()).starts_with(kName)) return;
  constexpr int kFirstRight = 151;
  int build = 0;
  for (std::size_t i = kUuid.size() + kName.size(); i < text.size() && build < kFirstRight; ++i) {
    if (text[i] < '0' || text[i] > '9') break;
    build = build * 10 + (text[i] - '0');
  }
  if ((build < kFirstRight) == (early_x264_ != nullptr)) return;
  sets_changed_ = true;
  early_x264_ = nullptr;
  if (build >= kFirstRight) return;
  const std::string told = std::string(kUuid) + std::string(kName) + std::to_string(build);
  codec::Bytes unit{static_cast<std::uint8_t>(NalUnitType::kSei), kUserData, static_cast<std::uint8_t>(told.size())};
  unit.insert(unit.end(), told.begin(), told.end());
  unit.push_back(0x80);  // rbsp_trailing_bits
  early_x264_ = std::make_shared<const codec::Bytes>(std::move(unit));
}

// D.1.1: the messages that bear on decoding
void StreamSource::take_sei(const NalUnit& unit) {
  const codec::Bytes rbsp = to_rbsp(unit.bytes.subspan(kNalHeaderSize));
  std::size_t at = 0;
  const auto read_number = [&] {
    std::size_t value = 0;
    while (at < rbsp.size() && rbsp[at] == 0xFF) value += rbsp[at++];
    return at < rbsp.size() ? value + rbsp[at++] : value;
  };
  while (at + 2 < rbsp.size()) {
    const std::size_t type = read_number(), size = read_number();
    if (size > rbsp.size() - at) return;  // nothing depends on a message that is cut short
    const auto message = std::span<const std::uint8_t>(rbsp).subspan(at, size);
    if (type == kUserData) read_x264_build(message);
    if (type == kRecoveryPoint && size > 0) {
      try {
        recovery_frames_ = BitReader(message).ue();
      } catch (const InvalidBitstreamError&) {
        return;
      }
    }
    at += size;
  }
}

// `anew`: the SPS may be another one than before.
std::shared_ptr<const ActiveSets> StreamSource::make_sets(int pps_id, bool idr, bool anew) {
  const auto named = pps_.find(pps_id);
  if (named == pps_.end()) {
    if (!started_ && !idr) return nullptr;
    throw InvalidBitstreamError("a slice names picture parameter set " + std::to_string(pps_id) + ", which is missing");
  }
  const int sps_id = named->second.sps_id;
  std::shared_ptr<const Sps> sps = sps_[static_cast<std::size_t>(sps_id)];
  if (!sps) {
    if (!started_ && !idr) return nullptr;
    throw InvalidBitstreamError("a slice names sequence parameter set " + std::to_string(sps_id) +
                                ", which is missing");
  }
  if (started_ && !anew) {
    if (sps_id != sets_->sps->id) {
      throw InvalidBitstreamError("the sequence parameter set changes inside a coded video sequence");
    }
    sps = sets_->sps;
  }
  std::map<int, std::shared_ptr<const Pps>> all;
  for (const auto& [id, unit] : pps_) {
    if (unit.sps_id != sps_id) continue;
    try {
      Pps pps = parse_pps(to_rbsp(std::span<const std::uint8_t>(*unit.nal_unit).subspan(kNalHeaderSize)), *sps);
      pps.nal_unit = *unit.nal_unit;
      all[id] = std::make_shared<const Pps>(std::move(pps));
    } catch (const Error&) {
      if (id == pps_id) throw;  // others may never be used
    }
  }
  return make_active_sets(std::move(sps), std::move(all), early_x264_);
}

std::shared_ptr<const ActiveSets> StreamSource::activate(int pps_id, NalHeader nal, const codec::AccessUnitTag&, bool) {
  // An SPS takes effect with an IDR picture, or where another stream was joined at a recovery point.
  const bool anew = nal.is_idr() || recovery_frames_;
  const bool same_sps = sets_ && (!anew || sps_[static_cast<std::size_t>(sets_->sps->id)] == sets_->sps);
  if (sets_changed_ || !same_sps || !sets_->pps.contains(pps_id)) {
    auto sets = make_sets(pps_id, nal.is_idr(), anew);
    if (!sets) return nullptr;
    sets_ = std::move(sets);
    sets_changed_ = false;
  }
  return sets_;
}

bool StreamSource::accepts(const SliceHeader& header) {
  return started_ || header.nal.is_idr() || (header.first_mb == 0 && (header.is_intra() || recovery_frames_));
}

// Whether another stream was joined at a recovery point, which nothing but its headers tells.
bool StreamSource::is_joint(const SliceHeader& header, const Sps& sps) const {
  if (!started_ || header.nal.is_idr() || !recovery_frames_) return false;
  return sps_in_use_.get() != &sps || (!sps.gaps_in_frame_num_allowed && missing_frames(header, sps) > 0);
}

// Values of frame_num that no reference picture before this one has.
int StreamSource::missing_frames(const SliceHeader& header, const Sps& sps) const {
  const int difference = (header.frame_num - prev_ref_frame_num_) & (sps.max_frame_num() - 1);
  return difference == 0 ? 0 : difference - 1;
}

// 8.2.5.2
void StreamSource::fill_gap(const SliceHeader& header, const Sps& sps) {
  const int missing = missing_frames(header, sps);
  if (missing == 0) return;
  if (!sps.gaps_in_frame_num_allowed) {
    throw InvalidBitstreamError("reference pictures are missing: frame_num goes from " +
                                std::to_string(prev_ref_frame_num_) + " to " + std::to_string(header.frame_num));
  }
  // Earlier ones would leave the sliding window again.
  for (int i = std::min(missing, std::max(sps.max_num_ref_frames, 1)); i > 0; --i) {
    SliceHeader inferred;
    inferred.nal = {NalUnitType::kSlice, 1};
    inferred.frame_num = (header.frame_num - i) & (sps.max_frame_num() - 1);
    auto frame = std::make_shared<Frame>();
    frame->frame_num = inferred.frame_num;
    frame->non_existing = true;
    frame->decoded = {true, true};
    if (sps.pic_order_cnt_type != 0) {
      frame->poc = order_.begin(inferred, sps);
      order_.complete(inferred, frame->poc);
    }
    dpb_.number(inferred.frame_num, sps);
    dpb_.slide(sps, nullptr);
    frame->mark(Marking::kShortTerm);
    dpb_.add(std::move(frame));
    dpb_.bump(sps);
    prev_ref_frame_num_ = inferred.frame_num;
  }
}

void StreamSource::begin(const SliceHeader& header, const ActiveSets& sets, bool second, CodedPicture& picture,
                         const codec::AccessUnitTag& tag) {
  const Sps& sps = *sets.sps;
  const bool idr = header.nal.is_idr();
  const bool joint = !second && is_joint(header, sps);
  const bool start = !idr && (!started_ || joint);
  if (idr) {
    prev_ref_frame_num_ = 0;
    start_.reset();
    incomplete_.clear();
  } else if (start) {
    dpb_.restart();
    order_ = OrderCounter();
    prev_ref_frame_num_ = header.frame_num;
  } else if (!second) {
    fill_gap(header, sps);
  }
  sps_in_use_ = sets.sps;
  if (!second) current_ = std::make_shared<Frame>();
  const std::array<int, 2> poc = order_.begin(header, sps);
  picture.field_poc = poc;
  picture.poc = std::min(poc[0], poc[1]);
  if (start || (start_ && start_->recovery_frames > 0 && recovery_frames_)) {
    start_ = Start{picture.poc, header.frame_num, recovery_frames_.value_or(0), picture.decode_index,
                   recovery_frames_.has_value()};
  }
  started_ = true;
  may_miss_references_ = false;
  if (start_) {
    const auto frames = static_cast<std::uint32_t>((header.frame_num - start_->frame_num) & (sps.max_frame_num() - 1));
    if (frames >= start_->recovery_frames) start_->recovery_frames = 0;
    may_miss_references_ = picture.poc < start_->poc || start_->recovery_frames > 0;
  }
  picture.random_access = idr || recovery_frames_ == 0u;
  recovery_frames_.reset();
  picture.resets_order = idr || joint || header.resets_order();
  picture.starts_anew = joint || (idr && header.no_output_of_prior_pics);
  picture.detail = options_.detail(tag);
  current_->frame_num = header.frame_num;
  if (!second) current_->decode_index = picture.decode_index;
  for (std::size_t p = 0; p < 2; ++p) {
    if (!header.is_field() || p == parity(header.structure)) current_->poc[p] = poc[p];
  }
  dpb_.number(header.frame_num, sps);
  options_.limits.check(&Limits::max_dpb_pictures, sps.max_dpb_frames(),
                        "the number of pictures in the decoded picture buffer");
  const std::int64_t held = std::ssize(dpb_.frames()) + 1;
  options_.limits.check(&Limits::max_dpb_luma_samples, held * sps.width() * sps.height(),
                        "the number of luma samples in the decoded picture buffer");
}

void StreamSource::add_slice(SliceContext& context, const Sps& sps, Slice& slice, CodedPicture& picture) {
  context.may_miss_references = may_miss_references_;
  if (context.header.is_intra()) return;
  SliceLists made = make_ref_pic_lists(context.header, sps, picture.poc, dpb_.frames(),
                                       may_miss_references_ ? kBeforeStart : kMissing);
  const auto coded = [&](const RefEntry& entry) {
    const std::shared_ptr<Frame> frame = dpb_.find(entry.decode_index);
    CodedFrame result;
    if (!frame) return result;
    result.frame = frame->frame;
    result.fields = frame->fields;
    result.field_poc = frame->poc;
    return result;
  };
  for (const auto& list : made.lists) {
    for (const RefEntry& entry : list) add_references(coded(entry), entry.structure, picture.references);
  }
  if (slice.type == SliceType::kB) {
    const RefEntry& entry = made.lists[1][0];
    set_collocated(coded(entry), entry.structure, context.collocated, picture);
  }
  slice.ref_list = std::move(made.lists);
  slice.field_ref_list = std::move(made.field_lists);
}

void StreamSource::headers_read(CodedPicture& picture) {
  if (!start_) return;
  if (start_->decode_index == picture.decode_index && !start_->at_recovery_point) {
    if (picture.type == SliceType::kI) {
      picture.random_access = true;
    } else {
      start_->recovery_frames = Start::kNever;
      may_miss_references_ = true;
    }
  }
  if (!may_miss_references_) return;
  picture.complete = start_->recovery_frames == 0;
  for (const Slice& slice : picture.slices) {
    for (const auto& list : slice.ref_list) {
      for (const RefEntry& entry : list) picture.complete &= entry.decode_index >= 0;
    }
  }
  for (const std::int64_t other : picture.references) picture.complete &= !incomplete_.contains(other);
  if (!picture.complete) incomplete_.insert(picture.decode_index);
}

void StreamSource::complete(const std::shared_ptr<CodedPicture>& picture, const SliceHeader& header, const Sps& sps) {
  Frame& frame = *current_;
  if (header.is_field()) {
    const std::size_t own = parity(header.structure);
    frame.fields[own] = picture;
    // Dpb::mark() sees the other field alone.
    if (header.nal.ref_idc != 0) dpb_.mark(header, sps, frame);
    frame.decoded[own] = true;
  } else {
    frame.frame = picture;
    if (header.nal.ref_idc != 0) dpb_.mark(header, sps, frame);
    frame.decoded = {true, true};
  }
  if (header.nal.is_idr() || header.resets_order()) dpb_.flush(header.nal.is_idr() && header.no_output_of_prior_pics);
  if (header.resets_order()) {
    const auto reset = reset_order_counts(frame.poc, header.structure);
    for (std::size_t p = 0; p < 2; ++p) {
      if (!header.is_field() || p == parity(header.structure)) frame.poc[p] = reset[p];
    }
    frame.frame_num = 0;
    start_.reset();
  }
  order_.complete(header, frame.poc);
  if (header.nal.ref_idc != 0) prev_ref_frame_num_ = header.resets_order() ? 0 : header.frame_num;
  if (frame.is_reference() && !dpb_.find(frame.decode_index)) dpb_.add(current_);
  frame.last = picture->decode_index;
}

void StreamSource::complete_frame(std::shared_ptr<CodecPicture> shown, const Sps& sps) {
  current_->output = std::move(shown);
  if (current_->output && !dpb_.find(current_->decode_index)) dpb_.add(current_);
  dpb_.bump(sps);
}

}  // namespace ove::h264
