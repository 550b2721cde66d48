#include "h264/picture_task.h"

#include <algorithm>
#include <string>

#include "codec/decoder.h"
#include "h264/display_picture.h"
#include "h264/motion.h"
#include "h264/slice_data.h"

namespace ove::h264 {

void PictureTask::set_shown(ShownFrame shown) {
  shown_ = std::move(shown);
  waits_for_ = coded_->collocated;
  if (shown_.second) waits_for_.push_back(shown_.first->decode_index);
}

void PictureTask::parse() {
  CodedPicture& out = *coded_;
  out.buffers = pools_.pictures->take(*out.format);
  if (out.detail.has_residual()) out.residual = pools_.residuals->take(*out.format, out.detail.form);
  SliceDataParser parser(*sets_, out);
  motion_.resize(slices_.size());
  for (std::size_t i = 0; i < slices_.size(); ++i) {
    SliceContext& slice = slices_[i];
    try {
      parser.parse(slice, motion_[i]);
    } catch (const Error& error) {
      codec::rethrow_at(error, slice.position);
    }
    slice.rbsp = {};
  }
  if (!parser.covers_picture()) {
    throw InvalidBitstreamError("slices of the picture with POC " + std::to_string(out.poc) + " are missing",
                                slices_.front().position);
  }
}

void PictureTask::derive_motion() {
  MotionDerivation derivation(*sets_, *coded_);
  for (std::size_t i = 0; i < slices_.size() && coded_->detail.has_motion(); ++i) {
    try {
      derivation.derive(slices_[i], motion_[i]);
    } catch (const Error& error) {
      codec::rethrow_at(error, slices_[i].position);
    }
  }
  slices_.clear();
  motion_.clear();
  if (shown_.frame && shown_.frame != coded_) {
    fill_shown_frame(*shown_.first, shown_.second.get(), pools_, *shown_.frame);
  }
  shown_.first.reset();
  shown_.second.reset();
}

}  // namespace ove::h264
