#include "bindings/scorer.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include "bindings/source.h"
#include "common/error.h"

namespace py = pybind11;

namespace ove::bindings {

namespace {

// What a thread scores with: scratch memory is not shared.
struct Bench {
  saliency::Saliency saliency;
  DecodedArrays arrays;
};

// As many as threads are at work at a time.
class Benches {
 public:
  explicit Benches(std::function<std::unique_ptr<Bench>()> make) : make_(std::move(make)) {}

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
    if (!bench) bench = make_();
    work(*bench);
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(bench));
  }

 private:
  const std::function<std::unique_ptr<Bench>()> make_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Bench>> free_;
};

// Lets Python in now and then: its signal handlers, and `progress`, which is told how much is done. What they raise
// ends the work.
class Breaks {
 public:
  explicit Breaks(py::handle progress) : progress_(progress) {}

  void operator()(std::size_t done) {
    const auto now = std::chrono::steady_clock::now();
    if (now < next_) return;
    next_ = now + kInterval;
    py::gil_scoped_acquire gil;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    if (!progress_.is_none()) progress_(done);
  }

 private:
  static constexpr std::chrono::milliseconds kInterval{100};
  const py::handle progress_;
  std::chrono::steady_clock::time_point next_ = std::chrono::steady_clock::now() + kInterval;
};

}  // namespace

Scorer::Scorer(const py::dict& params, const std::array<int, 4>& window, int rotation)
    : params_(heat_params(params)),
      window_(window_of(window, rotation)),
      geometry_(geometry_of(params, window_)),
      saliency_(params_, window_, geometry_) {}

py::array_t<float> Scorer::score_video(py::handle source, reader::ReaderOptions options, py::handle progress) {
  const std::vector<std::int64_t> ids = options.frame_ids;
  py::array_t<float> out(
      {std::ssize(ids), static_cast<py::ssize_t>(geometry_.rows), static_cast<py::ssize_t>(geometry_.columns)});
  float* const scores = out.mutable_data();
  const auto patches = static_cast<std::size_t>(geometry_.rows) * static_cast<std::size_t>(geometry_.columns);
  media::Demuxer demuxer = open_demuxer(source);
  const std::string name = demuxer.name();

  const WithoutGil unlocked;
  const std::lock_guard lock(mutex_);
  if (params_.clip_scope) saliency_.finish_measuring();
  Benches benches([&] {
    auto bench = std::make_unique<Bench>(Bench{{params_, window_, geometry_}, {}});
    if (params_.clip_scope) bench->saliency.set_clip_scales(saliency_.scales());
    return bench;
  });
  options.detail = params_.residual_weight <= 0 ? hevc::Detail::kMotion
                   : saliency_.takes_packed()   ? hevc::Detail::kPacked
                                                : hevc::Detail::kResidual;
  options.process = [&](const hevc::CodecPicture& picture, std::int64_t id) {
    const auto slot = static_cast<std::size_t>(std::lower_bound(ids.begin(), ids.end(), id) - ids.begin());
    benches.with_one([&](Bench& bench) {
      bench.saliency.score(bench.arrays.view(picture, params_), {scores + slot * patches, patches});
    });
  };
  Breaks breaks(progress);
  std::size_t count = 0;
  reader::VideoReader reader(std::move(demuxer), std::move(options));
  for (reader::VideoPicture picture; reader.next(picture); ++count) breaks(count);
  if (count < ids.size()) {
    throw DecodeError("the video ended before the picture of display index " + std::to_string(ids[count]));
  }
  return out;
}

py::array_t<bool> Scorer::valid() const {
  py::array_t<bool> out({geometry_.rows, geometry_.columns});
  for (int row = 0; row < geometry_.rows; ++row) {
    for (int column = 0; column < geometry_.columns; ++column) {
      out.mutable_at(row, column) = geometry_.covers(row, column);
    }
  }
  return out;
}

std::tuple<float, float, float> Scorer::scales() const {
  const saliency::Scales& s = saliency_.scales();
  return {s.motion, s.residual, s.bits};
}

}  // namespace ove::bindings
