#include "hevc/picture_task.h"

#include <span>

#include "hevc/motion.h"
#include "hevc/slice_data.h"

namespace ove::hevc {

void PictureTask::add(SliceSegment segment, std::shared_ptr<const CodecPicture> collocated) {
  segments_.push_back(std::move(segment));
  collocated_.push_back(std::move(collocated));
}

void PictureTask::parse() {
  picture_->buffers = pools_.pictures->take(*picture_->sps);
  if (picture_->detail >= Detail::kCoefficients) {
    picture_->residual = pools_.residuals->take(*picture_->sps, residual_form(picture_->detail));
  }
  SliceDataParser parser(*picture_->sps, *pps_, *tiles_, *picture_->buffers, picture_->residual.get());
  units_.resize(segments_.size());
  for (std::size_t i = 0; i < segments_.size(); ++i) {
    SliceSegment& segment = segments_[i];
    const auto data = std::span<const std::uint8_t>(segment.rbsp).subspan(segment.data_begin);
    try {
      parser.parse(segment.header, segment.slice_idx, data, units_[i]);
    } catch (const Error& error) {
      rethrow_at(error, segment.position);
    }
    picture_->slices[segment.slice_idx].data_bits += static_cast<std::int64_t>(data.size()) * 8;
    segment.rbsp = {};
  }
  if (!parser.covers_picture()) {
    throw InvalidBitstreamError("slices of the picture with POC " + std::to_string(picture_->poc) + " are missing",
                                segments_.front().position);
  }
}

void PictureTask::derive_motion() {
  MotionDerivation derivation(*picture_, pps_->log2_parallel_merge_level, *tiles_);
  for (std::size_t i = 0; i < segments_.size(); ++i) {
    const SliceHeader& header = segments_[i].header;
    derivation.derive({.slice = &picture_->slices[segments_[i].slice_idx],
                       .max_num_merge_cand = header.max_num_merge_cand,
                       .collocated = collocated_[i].get(),
                       .collocated_from_l0 = header.collocated_from_l0},
                      units_[i]);
  }
  segments_.clear();
  collocated_.clear();
  units_.clear();
}

void rethrow_at(const Error& error, std::int64_t position) {
  if (error.position() < 0) {
    if (dynamic_cast<const InvalidBitstreamError*>(&error)) throw InvalidBitstreamError(error.what(), position);
    if (dynamic_cast<const UnsupportedStreamError*>(&error)) throw UnsupportedStreamError(error.what(), position);
  }
  throw;
}

}  // namespace ove::hevc
