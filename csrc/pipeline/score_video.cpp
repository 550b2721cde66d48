#include "pipeline/score_video.h"

#include <algorithm>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>

#include "common/error.h"
#include "pipeline/picture_arrays.h"

namespace ove::pipeline {

namespace {

// What a thread scores with: scratch memory is not shared.
struct Bench {
  explicit Bench(const Scoring& scoring) : saliency(scoring.params, scoring.window, scoring.geometry) {
    if (scoring.clip_scales) saliency.set_clip_scales(*scoring.clip_scales);
  }
  saliency::Saliency saliency;
  PictureArrays arrays;
};

// As many as threads are at work at a time.
class Benches {
 public:
  explicit Benches(const Scoring& scoring) : scoring_(scoring) {}

  template <class Work>
  void with_one(Work work) {
    std::unique_ptr<Bench> bench;
    {
      const std::lock_guard lock(mutex_);
      if (!free_.empty()) {
        bench = std::move(free_.back());
        free_.pop_back();
      }
    }
    if (!bench) bench = std::make_unique<Bench>(scoring_);
    work(*bench);
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(bench));
  }

 private:
  const Scoring& scoring_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Bench>> free_;
};

}  // namespace

codec::Detail detail_for(const saliency::HeatParams& params, const saliency::Saliency& saliency) {
  if (params.residual_weight <= 0) {
    return {.amount = params.mv_weight > 0 ? codec::Amount::kMotion : codec::Amount::kBits};
  }
  return {.form = saliency.takes_packed() ? codec::ResidualForm::kPacked : codec::ResidualForm::kPlane};
}

void score_video(media::Demuxer demuxer, reader::ReaderOptions options, const Scoring& scoring, std::span<float> scores,
                 const std::function<void(std::size_t)>& progress) {
  const std::vector<std::int64_t> ids = options.frame_ids;
  const auto patches =
      static_cast<std::size_t>(scoring.geometry.rows) * static_cast<std::size_t>(scoring.geometry.columns);
  const bool accumulates = scoring.params.accumulate != saliency::Accumulate::kNone;
  const std::vector<std::int64_t>& scored = accumulates ? scoring.scored_ids : ids;
  if (scores.size() != scored.size() * patches) throw std::invalid_argument("scores must be (T, rows, columns)");
  if (!std::includes(ids.begin(), ids.end(), scored.begin(), scored.end())) {
    throw std::invalid_argument("the pictures that are scored must be among those that are read");
  }
  Benches benches(scoring);
  benches.with_one([&](Bench& bench) { options.detail = detail_for(scoring.params, bench.saliency); });
  const auto work = [&](const codec::CodecPicture& picture, std::int64_t id) {
    const auto found = std::lower_bound(scored.begin(), scored.end(), id);
    benches.with_one([&](Bench& bench) {
      const auto view = bench.arrays.view(picture, scoring.params, bench.saliency.takes_packed());
      if (found == scored.end() || *found != id) return bench.saliency.accumulate(view);
      const auto slot = static_cast<std::size_t>(found - scored.begin());
      bench.saliency.score(view, scores.subspan(slot * patches, patches));
    });
  };
  if (!accumulates) options.process = work;
  std::size_t count = 0;
  reader::VideoReader reader(std::move(demuxer), std::move(options));
  for (reader::VideoPicture picture; reader.next(picture); ++count) {
    if (accumulates) work(*picture.codec, picture.index);
    if (progress) progress(count);
  }
  if (count < ids.size()) {
    throw DecodeError("the video ended before the picture of display index " + std::to_string(ids[count]));
  }
}

}  // namespace ove::pipeline
