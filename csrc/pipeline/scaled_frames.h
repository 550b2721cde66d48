// Chosen pictures as R'G'B' frames of one size.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "common/geometry.h"
#include "media/demuxer.h"
#include "pipeline/chosen_pictures.h"
#include "tokens/area_gather.h"

namespace ove::pipeline {

class ScaledFrames {
 public:
  // Of the pictures of these packets, in output order. Throws what ChosenPictures throws.
  ScaledFrames(media::Demuxer demuxer, std::span<const std::int64_t> packets, int height, int width,
               const Decoding& decoding);

  int height() const { return height_; }
  int width() const { return width_; }
  // Writes the next picture, (height, width, 3) samples, and its place among the packets; false at the end.
  bool next(std::span<std::uint8_t> frame, std::size_t& slot);

 private:
  int height_, width_;
  Orientation orientation_;
  ChosenPictures pictures_;
  std::optional<tokens::AreaGather> gather_;
};

}  // namespace ove::pipeline
