#include "bindings/scorer.h"

#include <chrono>
#include <utility>

#include "bindings/source.h"
#include "pipeline/score_video.h"

namespace py = pybind11;

namespace ove::bindings {

namespace {

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

Scorer::Scorer(const py::dict& params, const std::array<int, 4>& window, int rotation, bool mirrored)
    : params_(heat_params(params)),
      window_(window_of(window, rotation, mirrored)),
      geometry_(geometry_of(params, window_)),
      saliency_(params_, window_, geometry_) {}

py::array_t<float> Scorer::score_video(py::handle source, reader::ReaderOptions options,
                                       std::vector<std::int64_t> scored_ids, py::handle progress) {
  py::array_t<float> out(
      {std::ssize(scored_ids), static_cast<py::ssize_t>(geometry_.rows), static_cast<py::ssize_t>(geometry_.columns)});
  const std::span<float> scores(out.mutable_data(), static_cast<std::size_t>(out.size()));
  media::Demuxer demuxer = open_demuxer(source);

  const WithoutGil unlocked;
  const std::lock_guard lock(mutex_);
  pipeline::Scoring scoring{params_, window_, geometry_, {}, std::move(scored_ids)};
  if (params_.clip_scope) {
    saliency_.finish_measuring();
    scoring.clip_scales = saliency_.scales();
  }
  pipeline::score_video(std::move(demuxer), std::move(options), scoring, scores, Breaks(progress));
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
