#include "pipeline/scaled_frames.h"

#include <cstddef>
#include <stdexcept>
#include <utility>

namespace ove::pipeline {

ScaledFrames::ScaledFrames(media::Demuxer demuxer, std::span<const std::int64_t> packets, int height, int width,
                           const Decoding& decoding)
    : height_(height),
      width_(width),
      orientation_(demuxer.info().orientation),
      pictures_(std::move(demuxer), packets, decoding, [](std::size_t) { return true; }) {
  if (height <= 0 || width <= 0) throw std::invalid_argument("frames must have samples");
}

bool ScaledFrames::next(std::span<std::uint8_t> frame, std::size_t& slot) {
  const std::size_t row = 3 * static_cast<std::size_t>(width_);
  if (frame.size() != row * static_cast<std::size_t>(height_)) {
    throw std::invalid_argument("the frame must be (height, width, 3)");
  }
  YuvPicture picture;
  if (!pictures_.next(picture, slot)) return false;
  if (!gather_ || gather_->format() != picture.format) gather_.emplace(picture.format, orientation_, height_, width_);
  gather_->rectangle(picture, {0, 0, width_, height_}, frame.data(), static_cast<std::ptrdiff_t>(row));
  return true;
}

}  // namespace ove::pipeline
