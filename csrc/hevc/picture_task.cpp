#include "hevc/picture_task.h"

#include <span>
#include <string>

#include "codec/decoder.h"
#include "hevc/motion.h"
#include "hevc/slice_data.h"

namespace ove::hevc {

void PictureTask::parse() {
  CodecPicture& out = *picture();
  out.buffers = pools_.pictures->take(*out.format, out.detail.bits_by_block);
  if (out.detail.has_residual()) {
    out.residual = pools_.residuals->take(*out.format, out.detail.form);
    out.residual->clear_above();  // coding tree blocks of tiles come in any order
  }
  SliceDataParser parser(*sets_->sps, *sets_->pps, sets_->tiles, *out.buffers, out.residual.get(), out.detail.bits);
  units_.resize(segments_.size());
  for (std::size_t i = 0; i < segments_.size(); ++i) {
    SliceSegment& segment = segments_[i];
    const auto data = std::span<const std::uint8_t>(segment.rbsp).subspan(segment.data_begin);
    try {
      parser.parse(segment.header, segment.slice_idx, data, units_[i]);
    } catch (const Error& error) {
      codec::rethrow_at(error, segment.position);
    }
    out.slices[segment.slice_idx].data_bits += static_cast<std::int64_t>(data.size()) * 8;
    segment.rbsp = {};
  }
  if (!parser.covers_picture()) {
    throw InvalidBitstreamError("slices of the picture with POC " + std::to_string(out.poc) + " are missing",
                                segments_.front().position);
  }
}

void PictureTask::derive_motion() {
  CodecPicture& out = *picture();
  MotionDerivation derivation(out, *sets_);
  for (std::size_t i = 0; i < segments_.size() && out.detail.has_motion(); ++i) {
    const SliceHeader& header = segments_[i].header;
    derivation.derive({.slice = &out.slices[segments_[i].slice_idx],
                       .max_num_merge_cand = header.max_num_merge_cand,
                       .collocated = segments_[i].collocated.get(),
                       .collocated_from_l0 = header.collocated_from_l0},
                      units_[i]);
  }
  segments_.clear();
  units_.clear();
}

}  // namespace ove::hevc
