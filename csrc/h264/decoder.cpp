#include "h264/decoder.h"

#include <algorithm>
#include <utility>

#include "bitstream/bit_reader.h"
#include "h264/configuration.h"
#include "h264/display_picture.h"

namespace ove::h264 {

using codec::Limits;

SyntaxDecoder::SyntaxDecoder(codec::DecoderOptions decoder_options) : codec::NalDecoder(std::move(decoder_options)) {
  if (options().wanted) {
    source_ = std::make_unique<IndexSource>(options());
  } else {
    source_ = std::make_unique<StreamSource>(options());
  }
}

void SyntaxDecoder::set_extradata(std::span<const std::uint8_t> extradata) {
  const Configuration configuration = parse_configuration(extradata);
  set_framing(configuration.framing);
  for (const NalUnit& unit : configuration.nal_units) {
    // Pictures belong to packets, which say which they are.
    const auto type = static_cast<NalUnitType>(unit.bytes[0] & 31);
    if (type == NalUnitType::kSps || type == NalUnitType::kPps) decode_nal(unit, {}, -1);
  }
}

void SyntaxDecoder::finish() {
  finish_picture();
  source_->flush();
  show_due();
}

void SyntaxDecoder::abandon() {
  task_.reset();
  source_->flush();
  show_due();
}

void SyntaxDecoder::show_due() {
  while (const std::shared_ptr<Frame> frame = source_->pop_output()) {
    if (frame->output->complete) show({frame->output, frame->last});
  }
}

// Types of extensions (14, 15, 20, 21), auxiliary pictures (19) and what tells nothing of pictures are skipped.
void SyntaxDecoder::decode_nal(const NalUnit& unit, const codec::AccessUnitTag& tag, std::int64_t position) {
  if (unit.bytes[0] & 0x80) {
    finish_picture();  // which may be complete
    throw InvalidBitstreamError("forbidden_zero_bit is set: this is not a NAL unit header");
  }
  const NalHeader nal{static_cast<NalUnitType>(unit.bytes[0] & 31), unit.bytes[0] >> 5 & 3};
  switch (nal.type) {
    case NalUnitType::kSlice:
    case NalUnitType::kIdrSlice:
      return decode_slice(unit, nal, tag, position);
    case NalUnitType::kPartitionA:
    case NalUnitType::kPartitionB:
    case NalUnitType::kPartitionC:
      throw UnsupportedStreamError("the stream uses data partitioning, which is not supported");
    case NalUnitType::kSei:
      return source_->take_sei(unit);
    case NalUnitType::kSps:
    case NalUnitType::kPps:
      return source_->take_parameter_set(unit, nal.type);
    case NalUnitType::kEndOfSequence:
    case NalUnitType::kEndOfStream:
      finish_picture();
      return source_->end_sequence();
    default:
      return;
  }
}

// Reads the header of a slice. Gives its parameter sets, null where it is not decoded.
std::shared_ptr<const ActiveSets> SyntaxDecoder::read_header(NalHeader nal, const codec::AccessUnitTag& tag,
                                                             SliceContext& slice) {
  BitReader first(slice.rbsp);
  const bool at_first_mb = first.ue() == 0;
  first.ue();  // slice_type
  const int pps_id = first.ue(255, "pic_parameter_set_id");
  const auto parse = [&](const ActiveSets& sets, const Pps& pps) {
    BitReader r(slice.rbsp);
    return parse_slice_header(r, nal, [&](int) { return SliceSets{*sets.sps, pps}; });
  };
  // Redundant slices begin no picture, whose index is not asked for them.
  if (at_first_mb && options().wanted && last_sets_) {
    const auto pps = last_sets_->pps.find(pps_id);
    if (pps != last_sets_->pps.end() && pps->second->redundant_pic_cnt_present &&
        parse(*last_sets_, *pps->second).redundant_pic_cnt > 0) {
      return nullptr;
    }
  }
  auto sets = source_->activate(pps_id, nal, tag, at_first_mb);
  if (sets) {
    slice.header = parse(*sets, *sets->pps.at(pps_id));
    if (slice.header.redundant_pic_cnt > 0) return nullptr;
  } else if (at_first_mb) {
    finish_picture();
  }
  return sets;
}

void SyntaxDecoder::decode_slice(const NalUnit& unit, NalHeader nal, const codec::AccessUnitTag& tag,
                                 std::int64_t position) {
  SliceContext slice;
  slice.position = position;
  slice.rbsp = to_rbsp(unit.bytes.subspan(kNalHeaderSize));
  while (!slice.rbsp.empty() && slice.rbsp.back() == 0) slice.rbsp.pop_back();  // cabac_zero_words are no slice data
  std::shared_ptr<const ActiveSets> sets;
  try {
    sets = read_header(nal, tag, slice);
  } catch (const Error&) {
    finish_picture();  // which may be complete: where the slice belongs is not known
    throw;
  }
  if (!sets) return;

  const bool at_first_mb = slice.header.first_mb == 0;
  const bool other = !task_ || begins_picture(slice.header, task_->last_header(), *sets->sps);
  if (other || at_first_mb) {
    if (!other && task_->header().first_mb != 0) {
      throw UnsupportedStreamError("the stream uses arbitrary slice order, which is not supported");
    }
    const bool second = is_second_field(slice.header);
    auto field = second ? task_->coded() : nullptr;
    finish_picture(second);
    if (!source_->accepts(slice.header)) return;
    first_field_ = std::move(field);
    begin_picture(slice.header, std::move(sets), tag, second);
  } else if (slice.header.first_mb <= task_->last_header().first_mb) {
    throw UnsupportedStreamError("the stream uses arbitrary slice order, which is not supported");
  }
  add_slice(std::move(slice));
}

// 7.4.1.2.4, 3.30: whether a picture that begins is the second field of the one at work.
bool SyntaxDecoder::is_second_field(const SliceHeader& header) const {
  if (!task_ || !header.is_field() || header.nal.is_idr() || first_field_ || !source_->follows()) return false;
  if (header.resets_order()) return false;  // such a field is never the second of a complementary pair
  const SliceHeader& first = task_->header();
  const int frame_num = first.resets_order() ? 0 : first.frame_num;
  return first.is_field() && first.structure != header.structure && header.frame_num == frame_num &&
         (first.nal.ref_idc == 0) == (header.nal.ref_idc == 0);
}

void SyntaxDecoder::begin_picture(const SliceHeader& header, std::shared_ptr<const ActiveSets> sets,
                                  const codec::AccessUnitTag& tag, bool second) {
  auto picture = std::make_shared<CodedPicture>();
  picture->parameter_sets = sets;
  picture->structure = header.structure;
  picture->format = header.is_field() ? sets->field_format : header.mbaff ? sets->mbaff_format : sets->frame_format;
  picture->dropping = header.nal.ref_idc == 0 ? codec::Dropping::kFree : codec::Dropping::kNever;
  picture->referable = header.nal.ref_idc != 0;
  picture->tag = tag;
  picture->decode_index = decode_index_;
  const Vui& vui = sets->sps->vui;
  if (vui.num_units_in_tick > 0 && vui.time_scale > 0) {
    // Of the time of a field
    picture->duration =
        static_cast<double>(vui.num_units_in_tick) / static_cast<double>(vui.time_scale) * (header.is_field() ? 1 : 2);
  }
  source_->begin(header, *sets, second, *picture, tag);
  if (!as_coded() && header.structure != Structure::kFrame) {
    // What is shown is made of it. Both fields of a frame are decoded alike.
    if (!second) shown_detail_ = picture->detail;
    picture->detail = {shown_detail_.amount, ResidualForm::kPacked};
  }
  ++decode_index_;
  last_sets_ = sets;
  task_ = std::make_unique<PictureTask>(std::move(picture), std::move(sets), header, pools());
}

void SyntaxDecoder::add_slice(SliceContext context) {
  const SliceHeader& header = context.header;
  CodedPicture& picture = *task_->coded();
  options().limits.check(&Limits::max_slice_segments, static_cast<std::int64_t>(task_->num_slices()) + 1,
                         "the number of slices of a picture");
  const ActiveSets& sets = *task_->sets();
  const auto pps = sets.pps.find(header.pps_id);
  if (pps == sets.pps.end()) throw InvalidBitstreamError("a picture parameter set changes inside a picture");
  context.pps = pps->second.get();
  context.x264_444_contexts = sets.early_x264 != nullptr;
  context.slice_idx = static_cast<std::uint16_t>(picture.slices.size());
  Slice slice;
  slice.type = header.type;
  slice.address = header.first_mb;
  if (header.mbaff) {
    const int width = sets.sps->width_in_mbs;
    slice.address = 2 * (header.first_mb / width) * width + header.first_mb % width;
  }
  slice.qp = header.qp;
  slice.has_weights = header.has_weights;
  slice.luma_log2_weight_denom = header.luma_log2_weight_denom;
  source_->add_slice(context, *sets.sps, slice, picture);
  for (std::size_t x = 0; x < 2; ++x) {
    const auto count = static_cast<std::ptrdiff_t>(header.has_weights ? slice.ref_list[x].size() : 0);
    slice.luma_weights[x].assign(header.luma_weights[x].begin(), header.luma_weights[x].begin() + count);
  }
  picture.type = std::min(picture.type, header.type);
  picture.in_parts |= !picture.slices.empty();
  picture.slices.push_back(std::move(slice));
  task_->add(std::move(context));
}

ShownFrame SyntaxDecoder::make_shown(bool before_second) const {
  const std::shared_ptr<CodedPicture>& picture = task_->coded();
  if (as_coded() || picture->structure == Structure::kFrame) return {picture, nullptr, nullptr};
  if (before_second) return {};
  const std::shared_ptr<CodedPicture>& first = first_field_ ? first_field_ : picture;
  const std::shared_ptr<CodedPicture> second = first_field_ ? picture : nullptr;
  ShownFrame shown{make_shown_frame(*first, second.get(), *task_->sets()), first, second};
  shown.frame->detail = shown_detail_;
  return shown;
}

void SyntaxDecoder::finish_picture(bool before_second) {
  if (!task_) return;
  const std::shared_ptr<CodedPicture> picture = task_->coded();
  const std::shared_ptr<const ActiveSets> sets = task_->sets();
  const SliceHeader header = task_->header();
  ShownFrame shown = make_shown(before_second);
  const std::shared_ptr<CodecPicture> frame = shown.frame;
  task_->set_shown(std::move(shown));
  source_->headers_read(*picture);
  if (frame) frame->complete &= picture->complete;
  submit(std::move(task_));
  first_field_.reset();
  const bool by_display = options().order == codec::Order::kDisplay;
  source_->complete(picture, header, *sets->sps);
  if (!before_second) source_->complete_frame(by_display ? frame : nullptr, *sets->sps);
  if (by_display) {
    show_due();
  } else if (frame) {
    show({frame, picture->decode_index});
  }
}

}  // namespace ove::h264
