// Decoding of the pixels of chosen pictures.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "common/yuv.h"
#include "media/pixel_decoder.h"
#include "reader/video_index.h"

namespace ove::pipeline {

// How to decode. An index tells what the wanted pictures need; without one the whole video is decoded.
struct Decoding {
  std::shared_ptr<const reader::VideoIndex> index;
  int threads = 0;
  std::int64_t max_luma_samples = 0;
  std::optional<media::Nvdec> nvdec;
};

class ChosenPictures {
 public:
  // Those of `packets` that `needs(slot)`, the slot being their place among `packets`. Throws std::invalid_argument for
  // packets that repeat.
  ChosenPictures(media::Demuxer demuxer, std::span<const std::int64_t> packets, const Decoding& decoding,
                 const std::function<bool(std::size_t)>& needs);

  // Takes the next picture, in output order, valid until the next call; false at the end. Throws UnsupportedStreamError
  // for a picture of another size than the first.
  bool next(YuvPicture& picture, std::size_t& slot);
  // Of the picture given last, see media::DecodedPicture.
  const std::shared_ptr<const void>& frame() const { return frame_; }

 private:
  std::vector<std::pair<std::int64_t, std::size_t>> slots_;  // by packet
  std::unique_ptr<media::PixelDecoder> decoder_;
  std::shared_ptr<const void> frame_;
  int width_ = 0, height_ = 0;
};

}  // namespace ove::pipeline
