#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings/bindings.h"
#include "bindings/gil.h"
#include "bindings/heat_arguments.h"
#include "bindings/scorer.h"
#include "common/geometry.h"
#include "saliency/ranking.h"
#include "saliency/saliency.h"

namespace py = pybind11;

namespace {

using namespace ove::saliency;
using namespace ove::bindings;

py::array_t<bool> keep(const Array<float>& scores, const Array<bool>& valid, const Array<bool>& keep_whole,
                       double full_score, const py::dict& p) {
  if (scores.ndim() != 3 || valid.size() != scores.shape(1) * scores.shape(2) || keep_whole.size() != scores.shape(0)) {
    throw std::invalid_argument(
        "scores, valid and keep_whole must have the shapes (T,rows,columns), (rows,columns), (T,)");
  }
  const RankingParams params = ranking_params(p);
  const auto bytes = [](const Array<bool>& a) {
    return std::span(reinterpret_cast<const std::uint8_t*>(a.data()), static_cast<std::size_t>(a.size()));
  };
  const ScoreView view{{scores.data(), static_cast<std::size_t>(scores.size())},
                       static_cast<int>(scores.shape(0)),
                       static_cast<int>(scores.shape(1) * scores.shape(2)),
                       full_score,
                       bytes(valid),
                       bytes(keep_whole)};
  std::vector<std::uint8_t> kept;
  {
    const WithoutGil unlocked;
    kept = keep_patches(view, params);
  }
  py::array_t<bool> mask({scores.shape(0), scores.shape(1), scores.shape(2)});
  std::copy(kept.begin(), kept.end(), mask.mutable_data());
  return mask;
}

}  // namespace

namespace ove::bindings {

void bind_saliency(py::module_& m) {
  py::class_<Scorer> scorer(m, "Scorer", "Heat and patch scores of the pictures of one clip.");
  scorer.def(py::init<const py::dict&, const std::array<int, 4>&, int, bool>(), py::arg("params"), py::arg("window"),
             py::arg("rotation") = 0, py::arg("mirrored") = false);
  scorer.def("measure", &Scorer::measure, py::arg("picture"), "First pass of percentile_scope='clip'.");
  scorer.def("accumulate", &Scorer::accumulate, py::arg("picture"),
             "A picture that the next one to measure, score or render counts too.");
  scorer.def("score", &Scorer::score, py::arg("picture"), "Patch sums, (rows, columns) float32.");
  scorer.def("heat", &Scorer::heat, py::arg("picture"),
             "Fused heat on the canvas, (canvas_height, canvas_width) float32.");
  scorer.def(
      "score_video",
      [](Scorer& self, py::handle source, std::shared_ptr<const ove::reader::VideoIndex> index,
         std::vector<std::int64_t> frame_ids, std::vector<std::int64_t> scored_ids, int threads,
         const LimitsDict& limits, py::handle progress) {
        ove::reader::ReaderOptions options;
        options.threads = threads;
        options.limits = limits_of(limits);
        options.index = std::move(index);
        options.frame_ids = std::move(frame_ids);
        return self.score_video(source, std::move(options), std::move(scored_ids), progress);
      },
      py::arg("source"), py::kw_only(), py::arg("index"), py::arg("frame_ids"), py::arg("scored_ids"),
      py::arg("threads"), py::arg("limits"), py::arg("progress") = py::none(),
      "The patch sums (T, rows, columns) of the pictures `scored_ids`, which are of one size. `frame_ids` are those "
      "that\n"
      "are read, ascending; with `accumulate`, the others count in the next one of `scored_ids`. `progress` is called\n"
      "with the number of pictures read, now and then.");
  scorer.def("valid", &Scorer::valid, "Patches wholly inside the picture, (rows, columns) bool.");
  scorer.def_property_readonly("scales", &Scorer::scales, "Factors of |v|, |Y - 128| and log1p(bits) in use.");
  scorer.def("set_clip_scales", &Scorer::set_clip_scales, py::arg("scales"));
  scorer.def_property_readonly("full_score", &Scorer::full_score);
  scorer.def_property_readonly("geometry", [](const Scorer& s) {
    const Geometry& g = s.geometry();
    const ove::DisplayWindow& w = s.window();
    using namespace py::literals;
    return py::dict("source_width"_a = g.source_width, "source_height"_a = g.source_height,
                    "resized_width"_a = g.resized_width, "resized_height"_a = g.resized_height,
                    "offset_x"_a = g.offset_x, "offset_y"_a = g.offset_y, "rows"_a = g.rows, "columns"_a = g.columns,
                    "window"_a = py::make_tuple(w.x, w.y, w.width, w.height),
                    "rotation"_a = 90 * w.orientation.quarter_turns, "mirrored"_a = w.orientation.mirrored);
  });
  m.def("keep_patches", &keep, py::arg("scores"), py::arg("valid"), py::arg("keep_whole"), py::arg("full_score"),
        py::arg("params"), "Ranks patches; (T, rows, columns) bool.");
}

}  // namespace ove::bindings
