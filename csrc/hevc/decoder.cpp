#include "hevc/decoder.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "bitstream/bit_reader.h"

namespace ove::hevc {

namespace {

constexpr std::size_t kNalHeaderSize = 2;

// What a PPS may say only of the SPS it is used with.
void check_compatible(const Sps& sps, const Pps& pps) {
  const int depth = sps.log2_ctb - sps.log2_min_cb;
  if (pps.diff_cu_qp_delta_depth > depth || pps.diff_cu_chroma_qp_offset_depth > depth ||
      pps.log2_parallel_merge_level > sps.log2_ctb || pps.init_qp < -6 * (sps.bit_depth_luma - 8)) {
    throw InvalidBitstreamError("picture parameter set " + std::to_string(pps.id) +
                                " does not fit its sequence parameter set");
  }
}

// The picture, whose residual goes when the last copy of the returned pointer does.
std::shared_ptr<const CodecPicture> hand_out(std::shared_ptr<CodecPicture> picture) {
  CodecPicture* const given = picture.get();
  return {given, [owner = std::move(picture)](const CodecPicture*) { owner->residual.reset(); }};
}

}  // namespace

SyntaxDecoder::SyntaxDecoder(DecoderOptions options)
    : options_(std::move(options)), tasks_(options_.threads, options_.process) {
  options_.limits.validate();
}

void SyntaxDecoder::set_extradata(std::span<const std::uint8_t> extradata) {
  if (extradata.empty()) return;
  const auto decode_parameter_set = [&](const NalUnit& unit) {
    // Pictures belong to packets, which say which they are.
    if (!unit.bytes.empty() && is_slice(static_cast<NalUnitType>(unit.bytes[0] >> 1 & 0x3F))) return;
    decode_nal(unit, {}, -1);
  };
  const bool annex_b = extradata.size() >= 3 && extradata[0] == 0 && extradata[1] == 0 && extradata[2] <= 1;
  if (annex_b) {
    for (const NalUnit& unit : split_annex_b(extradata)) decode_parameter_set(unit);
    return;
  }
  constexpr std::size_t kFixedSize = 23;
  if (extradata.size() < kFixedSize)
    throw InvalidBitstreamError("the decoder configuration record (hvcC) is cut short");
  nal_length_size_ = (extradata[21] & 3) + 1;
  std::size_t at = kFixedSize;
  const auto read16 = [&] {
    if (extradata.size() - at < 2) throw InvalidBitstreamError("the decoder configuration record (hvcC) is cut short");
    at += 2;
    return static_cast<std::size_t>(extradata[at - 2] << 8 | extradata[at - 1]);
  };
  for (int arrays = extradata[22]; arrays > 0 && at < extradata.size(); --arrays) {
    ++at;  // array_completeness and NAL_unit_type, which the NAL units repeat
    for (std::size_t count = read16(); count > 0; --count) {
      const std::size_t size = read16();
      if (size > extradata.size() - at)
        throw InvalidBitstreamError("the decoder configuration record (hvcC) is cut short");
      decode_parameter_set({extradata.subspan(at, size), 0});
      at += size;
    }
  }
}

void SyntaxDecoder::decode(std::span<const std::uint8_t> packet, const AccessUnitTag& tag, std::int64_t position) {
  if (failed_) return;
  std::int64_t at = position;
  try {
    const Limits& limits = options_.limits;
    limits.check(&Limits::max_packet_bytes, std::ssize(packet), "the number of bytes of a packet");
    const auto most = static_cast<std::size_t>(limits.max_nal_units) + 1;
    const auto units =
        nal_length_size_ ? split_length_prefixed(packet, nal_length_size_, most) : split_annex_b(packet, most);
    limits.check(&Limits::max_nal_units, std::ssize(units), "the number of NAL units of a packet");
    for (const NalUnit& unit : units) {
      if (position >= 0) at = position + static_cast<std::int64_t>(unit.offset);
      decode_nal(unit, tag, at);
    }
  } catch (const Error& error) {
    try {
      rethrow_at(error, at);
    } catch (...) {
      fail(std::current_exception());
    }
  }
}

// The picture at work is lost; those before it come out.
void SyntaxDecoder::fail(std::exception_ptr error) {
  failed_ = true;
  failure_ = error;
  task_.reset();
  dpb_.flush();
}

void SyntaxDecoder::flush() {
  if (failed_ || flushed_) return;
  flushed_ = true;
  finish_picture();
  dpb_.flush();
}

std::shared_ptr<const CodecPicture> SyntaxDecoder::pop() {
  for (;;) {
    // While there is input, pictures still at work may stay there, so that all threads have some.
    const CodecPicture* next = options_.order == Order::kDisplay ? dpb_.peek_output()
                               : decoded_.empty()                ? nullptr
                                                                 : decoded_.front().get();
    if (next && !flushed_ && !failed_ && tasks_.hungry(next->decode_index)) return nullptr;
    std::shared_ptr<CodecPicture> picture;
    if (options_.order == Order::kDisplay) {
      picture = dpb_.pop_output();
    } else if (!decoded_.empty()) {
      picture = std::move(decoded_.front());
      decoded_.pop_front();
    }
    // At the end, pictures that are not for output may still have failed.
    if (!picture && !flushed_ && !failed_) return nullptr;
    if (tasks_.wait(picture ? picture->decode_index : submitted_ - 1)) {
      if (picture) return hand_out(std::move(picture));
      break;
    }
    if (!failed_ || failure_) fail(tasks_.failure());
    if (!picture) break;
  }
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  return nullptr;
}

void SyntaxDecoder::decode_nal(const NalUnit& unit, const AccessUnitTag& tag, std::int64_t position) {
  if (unit.bytes.size() < kNalHeaderSize) throw InvalidBitstreamError("a NAL unit has no header");
  if (unit.bytes[0] & 0x80) throw InvalidBitstreamError("forbidden_zero_bit is set: this is no NAL unit header");
  const int layer_id = (unit.bytes[0] & 1) << 5 | unit.bytes[1] >> 3;
  const int temporal_id_plus1 = unit.bytes[1] & 7;
  if (layer_id > 0) return;  // enhancement layers
  if (temporal_id_plus1 == 0) throw InvalidBitstreamError("nuh_temporal_id_plus1 is 0");
  const NalContext nal{static_cast<NalUnitType>(unit.bytes[0] >> 1), temporal_id_plus1 - 1, tag, position};
  if (is_slice(nal.type)) {
    decode_slice(unit, nal);
  } else if (options_.known) {
    return;
  } else if (nal.type == NalUnitType::kVps || nal.type == NalUnitType::kSps || nal.type == NalUnitType::kPps) {
    take_parameter_set(unit, nal.type);
  } else if (nal.type == NalUnitType::kEndOfSequence || nal.type == NalUnitType::kEndOfBitstream) {
    finish_picture();
    expect_sequence_ = true;
  }
}

// A set that is repeated stays the same object.
void SyntaxDecoder::take_parameter_set(const NalUnit& unit, NalUnitType type) {
  options_.limits.check(&Limits::max_parameter_set_bytes, std::ssize(unit.bytes),
                        "the number of bytes of a parameter set");
  std::vector<std::uint8_t> nal(unit.bytes.begin(), unit.bytes.end());
  if (type == NalUnitType::kVps) {
    if (nal.size() == kNalHeaderSize) return;    // as useless as any other, which is not looked at
    auto& vps = vps_[nal[kNalHeaderSize] >> 4];  // vps_video_parameter_set_id
    if (!vps || *vps != nal) vps = std::make_shared<const std::vector<std::uint8_t>>(std::move(nal));
    return;
  }
  const auto take = [&](auto& sets, auto parsed) {
    parsed.nal_unit = std::move(nal);
    sets[static_cast<std::size_t>(parsed.id)] = std::make_shared<const decltype(parsed)>(std::move(parsed));
  };
  const auto repeats = [&](const auto& set) { return set && set->nal_unit == nal; };
  const auto rbsp = [&] { return to_rbsp(unit.bytes.subspan(kNalHeaderSize)); };
  if (type == NalUnitType::kSps) {
    if (std::none_of(sps_.begin(), sps_.end(), repeats)) take(sps_, parse_sps(rbsp(), options_.limits));
  } else {
    if (std::none_of(pps_.begin(), pps_.end(), repeats)) take(pps_, parse_pps(rbsp()));
  }
}

bool SyntaxDecoder::starts_sequence(NalUnitType type) const {
  if (known_) return known_->clears_dpb;
  return is_irap(type) && (is_idr(type) || is_bla(type) || expect_sequence_);
}

// An SPS takes effect where a coded video sequence starts, a PPS where a picture starts.
ParameterSetPair SyntaxDecoder::activate(int pps_id, NalUnitType type, bool first_slice_segment) {
  if (!first_slice_segment) {
    if (!task_) throw InvalidBitstreamError("a picture does not begin with its first slice segment");
    if (task_->pps()->id != pps_id)
      throw InvalidBitstreamError("the slices of a picture name different parameter sets");
    return {task_->picture()->sps, task_->pps()};
  }
  const auto& pps = known_ ? known_->pps : pps_[static_cast<std::size_t>(pps_id)];
  if (!pps)
    throw InvalidBitstreamError("a slice names picture parameter set " + std::to_string(pps_id) + ", which is missing");
  if (known_) {
    if (known_->nal_unit_type != type || pps->id != pps_id) {
      throw InvalidBitstreamError("a picture is not the one that was there before: the source has changed");
    }
    active_sps_ = known_->sps;
  } else if (starts_sequence(type)) {
    const auto& sps = sps_[static_cast<std::size_t>(pps->sps_id)];
    if (!sps) {
      throw InvalidBitstreamError("a slice names sequence parameter set " + std::to_string(pps->sps_id) +
                                  ", which is missing");
    }
    active_sps_ = sps;
  } else if (pps->sps_id != active_sps_->id) {
    throw InvalidBitstreamError("the sequence parameter set changes inside a coded video sequence");
  }
  if (tiles_sps_ != active_sps_ || tiles_pps_ != pps) {
    check_compatible(*active_sps_, *pps);
    tiles_ = std::make_shared<const TileLayout>(make_tile_layout(*active_sps_, *pps));
    tiles_sps_ = active_sps_;
    tiles_pps_ = pps;
  }
  return {active_sps_, pps};
}

void SyntaxDecoder::decode_slice(const NalUnit& unit, const NalContext& nal) {
  if (unit.bytes.size() <= kNalHeaderSize) throw InvalidBitstreamError("a slice segment is empty");
  const bool first = unit.bytes[kNalHeaderSize] & 0x80;  // first_slice_segment_in_pic_flag
  if (first) finish_picture();
  if (options_.known) {
    if (first) known_ = options_.known(nal.tag);
    if (!known_) return;
  } else {
    // Decoding starts at a random access point; RASL pictures that refer to what precedes it are not decodable.
    if (expect_sequence_ && !is_irap(nal.type)) return;
    if (is_rasl(nal.type) && skip_rasl_) return;
  }

  SliceSegment segment;
  segment.rbsp = to_rbsp(unit.bytes);
  // cabac_zero_words are no slice data
  while (segment.rbsp.size() > kNalHeaderSize && segment.rbsp.back() == 0) segment.rbsp.pop_back();
  segment.position = nal.position;
  BitReader r(std::span<const std::uint8_t>(segment.rbsp).subspan(kNalHeaderSize));
  segment.header = parse_slice_header(r, nal.type, task_ ? task_->last_header() : nullptr, *this);
  segment.data_begin = kNalHeaderSize + r.position() / 8;
  if (first) begin_picture(segment.header, nal);
  options_.limits.check(&Limits::max_slice_segments, static_cast<std::int64_t>(task_->num_segments()) + 1,
                        "the number of slice segments of a picture");
  auto collocated = add_slice(segment.header);
  segment.slice_idx = static_cast<std::uint16_t>(task_->picture()->slices.size() - 1);
  task_->add(std::move(segment), std::move(collocated));
}

// 8.3.1
int SyntaxDecoder::picture_order_count(const SliceHeader& header, const NalContext& nal, bool new_sequence) {
  const int max_lsb = 1 << active_sps_->log2_max_poc_lsb;
  const int lsb = header.pic_order_cnt_lsb;
  int msb = 0;
  if (!new_sequence) {
    const int prev_lsb = prev_tid0_poc_ & (max_lsb - 1);
    msb = prev_tid0_poc_ - prev_lsb;
    if (lsb < prev_lsb && prev_lsb - lsb >= max_lsb / 2) {
      msb += max_lsb;
    } else if (lsb > prev_lsb && lsb - prev_lsb > max_lsb / 2) {
      msb -= max_lsb;
    }
  }
  const int poc = msb + lsb;
  if (nal.temporal_id == 0 && !is_rasl(nal.type) && !is_radl(nal.type) && !is_sub_layer_non_reference(nal.type)) {
    prev_tid0_poc_ = poc;
  }
  return poc;
}

void SyntaxDecoder::begin_picture(const SliceHeader& header, const NalContext& nal) {
  const bool new_sequence = starts_sequence(nal.type);
  if (is_irap(nal.type)) skip_rasl_ = new_sequence;
  if (new_sequence) expect_sequence_ = false;
  auto picture = std::make_shared<CodecPicture>();
  picture->sps = active_sps_;
  picture->pps = tiles_pps_;
  picture->vps = vps_[static_cast<std::size_t>(active_sps_->vps_id)];
  picture->nal_unit_type = nal.type;
  picture->temporal_id = nal.temporal_id;
  picture->poc = known_ ? known_->poc : picture_order_count(header, nal, new_sequence);
  picture->tag = nal.tag;
  picture->decode_index = decode_index_++;
  picture->detail = known_ ? known_->detail : options_.detail(nal.tag);
  rps_ = dpb_.begin_picture(header, *active_sps_, picture->poc, new_sequence, nal.type == NalUnitType::kCra);
  const std::int64_t held = static_cast<std::int64_t>(dpb_.size()) + 1;
  const Limits& limits = options_.limits;
  limits.check(&Limits::max_dpb_pictures, std::max<std::int64_t>(held, active_sps_->max_dec_pic_buffering),
               "the number of pictures in the decoded picture buffer");
  limits.check(&Limits::max_dpb_luma_samples, held * active_sps_->width * active_sps_->height,
               "the number of luma samples in the decoded picture buffer");
  output_current_ = header.pic_output;
  task_.emplace(std::move(picture), tiles_pps_, tiles_, pools_);
}

// Adds the slice that an independent segment begins. Returns the picture that its temporal prediction reads.
std::shared_ptr<const CodecPicture> SyntaxDecoder::add_slice(const SliceHeader& header) {
  CodecPicture& picture = *task_->picture();
  RefPicLists lists;
  if (!header.is_intra()) lists = make_ref_pic_lists(header, rps_);
  if (!header.dependent) {
    Slice slice;
    slice.type = header.type;
    slice.address = header.slice_address;
    slice.qp = header.qp;
    slice.has_weights = header.has_weights;
    slice.luma_log2_weight_denom = header.luma_log2_weight_denom;
    for (std::size_t x = 0; x < 2; ++x) {
      for (const RpsEntry& entry : lists[x]) slice.ref_list[x].push_back({entry.poc, entry.is_long_term});
      const auto count = static_cast<std::ptrdiff_t>(header.has_weights ? lists[x].size() : 0);
      slice.luma_weights[x].assign(header.luma_weights[x].begin(), header.luma_weights[x].begin() + count);
    }
    picture.type = std::min(picture.type, header.type);
    picture.slices.push_back(std::move(slice));
  }
  const auto add_once = [](std::vector<std::int64_t>& list, std::int64_t index) {
    if (std::find(list.begin(), list.end(), index) == list.end()) list.push_back(index);
  };
  for (const auto& list : lists) {
    for (const RpsEntry& entry : list) add_once(picture.references, entry.picture->decode_index);
  }
  if (header.is_intra() || !header.temporal_mvp_enabled) return nullptr;
  auto collocated =
      lists[header.collocated_from_l0 ? 0 : 1][static_cast<std::size_t>(header.collocated_ref_idx)].picture;
  if (collocated->width() != picture.width() || collocated->height() != picture.height()) {
    throw InvalidBitstreamError("the collocated picture has another size");
  }
  if (collocated->type == SliceType::kI) return nullptr;  // intra blocks predict no vector, so they need not be decoded
  if (collocated->detail == Detail::kHeaders && picture.detail != Detail::kHeaders) {
    throw std::logic_error("motion is wanted of a picture, but not of the one it is derived from");
  }
  add_once(picture.collocated, collocated->decode_index);
  return collocated;
}

void SyntaxDecoder::finish_picture() {
  if (!task_) return;
  PictureTask task = std::move(*task_);
  task_.reset();
  const std::shared_ptr<CodecPicture> picture = task.picture();
  if (options_.observe) options_.observe(*picture);
  tasks_.submit(std::move(task));
  submitted_ = picture->decode_index + 1;
  if (options_.order == Order::kDecoding) decoded_.push_back(picture);
  dpb_.add(picture, output_current_ && options_.order == Order::kDisplay);
}

}  // namespace ove::hevc
