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

  // Source: PictureView, or a decoded picture.
  template <class Source>
  void measure(const Source& picture) {
    const WithoutGil unlocked;
    const std::lock_guard lock(mutex_);
    saliency_.measure(view(picture));
  }

  template <class Source>
  void accumulate(const Source& picture) {
    const WithoutGil unlocked;
    const std::lock_guard lock(mutex_);
    saliency_.accumulate(view(picture));
  }

  template <class Source>
  pybind11::array_t<float> score(const Source& picture) {
    return fill(geometry_.rows, geometry_.columns, [&](std::span<float> out) { saliency_.score(view(picture), out); });
  }

  template <class Source>
  pybind11::array_t<float> heat(const Source& picture) {
    return fill(geometry_.canvas_height(), geometry_.canvas_width(),
                [&](std::span<float> out) { saliency_.heat(view(picture), out); });
  }

  // Scores (T, rows, columns) of the pictures that the options name, all of the size that the scorer is for, each made
  // by the thread that decoded the picture. The GIL is free meanwhile, but for signals and `progress` (None, or called
  // with the number of pictures done) now and then.
  pybind11::array_t<float> score_video(pybind11::handle source, reader::ReaderOptions options,
                                       pybind11::handle progress);

  pybind11::array_t<bool> valid() const;
  std::tuple<float, float, float> scales() const;
  void set_clip_scales(const std::array<float, 3>& s) { saliency_.set_clip_scales({s[0], s[1], s[2]}); }
  double full_score() const { return saliency_.full_score(); }
  const Geometry& geometry() const { return geometry_; }

 private:
  static const saliency::PictureView& view(const saliency::PictureView& picture) { return picture; }
  saliency::PictureView view(const codec::CodecPicture& picture) { return arrays_.view(picture, params_); }

  template <class Compute>
  pybind11::array_t<float> fill(int rows, int columns, Compute compute) {
    pybind11::array_t<float> out({rows, columns});
    const std::span<float> span(out.mutable_data(), static_cast<std::size_t>(out.size()));
    const WithoutGil unlocked;
    const std::lock_guard lock(mutex_);
    compute(span);
    return out;
  }

  saliency::HeatParams params_;
  DisplayWindow window_;
  Geometry geometry_;
  saliency::Saliency saliency_;
  std::mutex mutex_;
  pipeline::PictureArrays arrays_;  // of the picture at work
};

}  // namespace ove::bindings
