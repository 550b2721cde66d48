// The scorer of one clip, which Python feeds with pictures, or has it read them from a video.
#pragma once

#include <pybind11/numpy.h>

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <tuple>
#include <vector>

#include "bindings/gil.h"
#include "bindings/heat_arguments.h"
#include "codec/picture.h"
#include "common/geometry.h"
#include "pipeline/picture_arrays.h"
#include "reader/video_reader.h"
#include "saliency/saliency.h"

namespace ove::bindings {

// Calls from several threads take turns.
class Scorer {
 public:
  Scorer(const pybind11::dict& params, const std::array<int, 4>& window, int rotation, bool mirrored);

  // Pictures are what GivenPicture takes.
  void measure(const pybind11::object& picture) {
    with(picture, saliency_.takes_packed(), [&](const saliency::PictureView& view) { saliency_.measure(view); });
  }
  void accumulate(const pybind11::object& picture) {
    with(picture, saliency_.takes_packed(), [&](const saliency::PictureView& view) { saliency_.accumulate(view); });
  }
  pybind11::array_t<float> score(const pybind11::object& picture) {
    pybind11::array_t<float> out({geometry_.rows, geometry_.columns});
    with(picture, saliency_.takes_packed(),
         [&, to = span_of(out)](const saliency::PictureView& view) { saliency_.score(view, to); });
    return out;
  }
  pybind11::array_t<float> heat(const pybind11::object& picture) {
    pybind11::array_t<float> out({geometry_.canvas_height(), geometry_.canvas_width()});
    with(picture, false, [&, to = span_of(out)](const saliency::PictureView& view) { saliency_.heat(view, to); });
    return out;
  }

  // Scores (T, rows, columns) of the T pictures of `scored_ids`, among those that the options name, all of the size
  // that the scorer is for. The GIL is free meanwhile, but for signals and `progress` (None, or called with the number
  // of pictures read) now and then.
  pybind11::array_t<float> score_video(pybind11::handle source, reader::ReaderOptions options,
                                       std::vector<std::int64_t> scored_ids, pybind11::handle progress);

  pybind11::array_t<bool> valid() const;
  std::tuple<float, float, float> scales() const;
  void set_clip_scales(const std::array<float, 3>& s) { saliency_.set_clip_scales({s[0], s[1], s[2]}); }
  double full_score() const { return saliency_.full_score(); }
  const saliency::HeatParams& params() const { return params_; }
  const Geometry& geometry() const { return geometry_; }
  const DisplayWindow& window() const { return window_; }

 private:
  static std::span<float> span_of(pybind11::array_t<float>& array) {
    return {array.mutable_data(), static_cast<std::size_t>(array.size())};
  }

  template <class Work>
  void with(const pybind11::object& picture, bool takes_packed, Work work) {
    const GivenPicture given(picture);
    const WithoutGil unlocked;
    const std::lock_guard lock(mutex_);
    work(given.view(arrays_, params_, takes_packed));
  }

  saliency::HeatParams params_;
  DisplayWindow window_;
  Geometry geometry_;
  saliency::Saliency saliency_;
  std::mutex mutex_;
  pipeline::PictureArrays arrays_;  // of the picture at work
};

}  // namespace ove::bindings
