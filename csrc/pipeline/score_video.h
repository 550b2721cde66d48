// Patch scores of chosen pictures of a video.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "codec/detail.h"
#include "common/geometry.h"
#include "media/demuxer.h"
#include "reader/video_reader.h"
#include "saliency/saliency.h"

namespace ove::pipeline {

struct Scoring {
  saliency::HeatParams params;
  DisplayWindow window;
  Geometry geometry;
  // With HeatParams::clip_scope: those of the clip, which saliency::Saliency::measure() finds.
  std::optional<saliency::Scales> clip_scales;
  // With HeatParams::accumulate: of the pictures that are read, the ascending indices of those that are scored. Each
  // counts the others since the one before.
  std::vector<std::int64_t> scored_ids;
};

// How much of a picture scoring reads.
codec::Detail detail_for(const saliency::HeatParams& params, const saliency::Saliency& saliency);

// Reads the pictures that `options` names by an index and `frame_ids`, all of the size that the window is for, and
// writes the scores (T, rows, columns) of those that are scored. The thread that decoded a picture scores it; what
// accumulates goes from picture to picture, in this thread. `progress` is called by this thread, with the number of
// pictures done, after each. Throws what VideoReader and `progress` throw.
void score_video(media::Demuxer demuxer, reader::ReaderOptions options, const Scoring& scoring, std::span<float> scores,
                 const std::function<void(std::size_t)>& progress = {});

}  // namespace ove::pipeline
