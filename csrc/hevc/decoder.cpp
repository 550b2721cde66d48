#include "hevc/decoder.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "bitstream/bit_reader.h"
#include "hevc/configuration.h"

namespace ove::hevc {

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
    if (!is_slice(static_cast<NalUnitType>(unit.bytes[0] >> 1 & 0x3F))) decode_nal(unit, {}, -1);
  }
}

void SyntaxDecoder::finish() {
  finish_picture();
  source_->flush();
  show_due();
  if (!source_->started()) source_->explain();
}

void SyntaxDecoder::abandon() {
  task_.reset();
  source_->flush();
  show_due();
}

void SyntaxDecoder::show_due() {
  while (auto picture = source_->pop_output()) {
    const std::int64_t index = picture->decode_index;
    show({std::move(picture), index});
  }
}

void SyntaxDecoder::decode_nal(const NalUnit& unit, const codec::AccessUnitTag& tag, std::int64_t position) {
  if (unit.bytes.size() < kNalHeaderSize) throw InvalidBitstreamError("a NAL unit has no header");
  if (unit.bytes[0] & 0x80) throw InvalidBitstreamError("forbidden_zero_bit is set: this is not a NAL unit header");
  const int layer_id = (unit.bytes[0] & 1) << 5 | unit.bytes[1] >> 3;
  const int temporal_id_plus1 = unit.bytes[1] & 7;
  if (layer_id > 0) return;  // enhancement layers
  if (temporal_id_plus1 == 0) throw InvalidBitstreamError("nuh_temporal_id_plus1 is 0");
  const NalContext nal{static_cast<NalUnitType>(unit.bytes[0] >> 1), temporal_id_plus1 - 1, tag, position};
  if (is_slice(nal.type)) {
    decode_slice(unit, nal);
  } else if (nal.type == NalUnitType::kVps || nal.type == NalUnitType::kSps || nal.type == NalUnitType::kPps) {
    source_->take_parameter_set(unit, nal.type, position);
  } else if (nal.type == NalUnitType::kEndOfSequence || nal.type == NalUnitType::kEndOfBitstream) {
    finish_picture();
    source_->end_sequence();
  }
}

void SyntaxDecoder::decode_slice(const NalUnit& unit, const NalContext& nal) {
  if (unit.bytes.size() <= kNalHeaderSize) throw InvalidBitstreamError("a slice segment is empty");
  const bool first = unit.bytes[kNalHeaderSize] & 0x80;  // first_slice_segment_in_pic_flag
  if (first) finish_picture();
  if (!source_->accepts(nal, first)) return;

  SliceSegment segment;
  segment.rbsp = to_rbsp(unit.bytes);
  // cabac_zero_words are no slice data
  while (segment.rbsp.size() > kNalHeaderSize && segment.rbsp.back() == 0) segment.rbsp.pop_back();
  segment.position = nal.position;
  BitReader r(std::span<const std::uint8_t>(segment.rbsp).subspan(kNalHeaderSize));
  std::shared_ptr<const ActiveSets> sets;
  const auto activate = [&](int pps_id) -> const ActiveSets& {
    if (first) {
      sets = source_->activate(pps_id, nal);
      return *sets;
    }
    if (!task_) throw InvalidBitstreamError("a picture does not begin with its first slice segment");
    if (task_->sets()->pps->id != pps_id)
      throw InvalidBitstreamError("the slices of a picture name different parameter sets");
    return *task_->sets();
  };
  segment.header = parse_slice_header(r, nal.type, task_ ? task_->last_header() : nullptr, activate);
  segment.data_begin = kNalHeaderSize + r.position() / 8;
  if (first) begin_picture(segment.header, nal, std::move(sets));
  options().limits.check(&Limits::max_slice_segments, static_cast<std::int64_t>(task_->num_segments()) + 1,
                         "the number of slice segments of a picture");
  task_->picture()->in_parts |= task_->num_segments() > 0;
  segment.collocated = add_slice(segment.header);
  segment.slice_idx = static_cast<std::uint16_t>(task_->picture()->slices.size() - 1);
  task_->add(std::move(segment));
}

void SyntaxDecoder::begin_picture(const SliceHeader& header, const NalContext& nal,
                                  std::shared_ptr<const ActiveSets> sets) {
  auto picture = std::make_shared<CodecPicture>();
  picture->parameter_sets = sets;
  picture->format = sets->format;
  picture->temporal_id = nal.temporal_id;
  picture->tag = nal.tag;
  picture->decode_index = decode_index_;
  const Vui& vui = sets->sps->vui;
  if (vui.num_units_in_tick > 0 && vui.time_scale > 0) {
    picture->duration = static_cast<double>(vui.num_units_in_tick) / static_cast<double>(vui.time_scale);
  }
  source_->begin(header, nal, *sets, *picture);
  ++decode_index_;
  output_current_ = header.pic_output;
  task_ = std::make_unique<PictureTask>(std::move(picture), std::move(sets), pools());
}

// Adds the slice that an independent segment begins. Returns the picture that its temporal prediction reads.
std::shared_ptr<const CodecPicture> SyntaxDecoder::add_slice(const SliceHeader& header) {
  CodecPicture& picture = *task_->picture();
  if (!header.dependent) {
    Slice slice;
    slice.type = header.type;
    slice.address = header.slice_address;
    slice.qp = header.qp;
    slice.has_weights = header.has_weights;
    slice.luma_log2_weight_denom = header.luma_log2_weight_denom;
    if (!header.is_intra()) slice.ref_list = source_->ref_lists(header, picture.slices.size(), picture);
    for (std::size_t x = 0; x < 2; ++x) {
      const auto count = static_cast<std::ptrdiff_t>(header.has_weights ? slice.ref_list[x].size() : 0);
      slice.luma_weights[x].assign(header.luma_weights[x].begin(), header.luma_weights[x].begin() + count);
    }
    picture.type = std::min(picture.type, header.type);
    picture.slices.push_back(std::move(slice));
  }
  const bool needs_others = picture.detail.amount != codec::Amount::kBits;
  if (header.is_intra() || !header.temporal_mvp_enabled || !needs_others) return nullptr;
  const auto& list = picture.slices.back().ref_list[header.collocated_from_l0 ? 0 : 1];
  auto collocated = source_->collocated(list[static_cast<std::size_t>(header.collocated_ref_idx)]);
  if (!collocated) return nullptr;
  if (collocated->width() != picture.width() || collocated->height() != picture.height()) {
    throw InvalidBitstreamError("the collocated picture has another size");
  }
  if (!collocated->detail.has_motion() && picture.detail.has_motion()) {
    throw std::logic_error("the motion of a picture was requested, but not that of the picture it is derived from");
  }
  auto& indices = picture.collocated;
  if (std::find(indices.begin(), indices.end(), collocated->decode_index) == indices.end()) {
    indices.push_back(collocated->decode_index);
  }
  return collocated;
}

void SyntaxDecoder::finish_picture() {
  if (!task_) return;
  const std::shared_ptr<CodecPicture> picture = task_->picture();
  const std::shared_ptr<const ActiveSets> sets = task_->sets();
  submit(std::move(task_));
  const bool by_display = options().order == codec::Order::kDisplay;
  source_->complete(picture, *sets->sps, output_current_ && by_display);
  if (by_display) {
    show_due();
  } else {
    show({picture, picture->decode_index});
  }
}

}  // namespace ove::hevc
