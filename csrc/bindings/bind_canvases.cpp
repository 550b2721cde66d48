#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

#include "bindings/bindings.h"
#include "bindings/canvas_painting.h"
#include "bindings/gil.h"
#include "bindings/source.h"
#include "canvases/block_scores.h"
#include "canvases/groups.h"
#include "canvases/top_blocks.h"
#include "pipeline/canvas_blocks.h"
#include "pipeline/frame_facts.h"
#include "pipeline/scaled_frames.h"

namespace py = pybind11;

namespace ove::bindings {

namespace {

std::span<const float> values_of(const Array<float>& array) {
  return {array.data(), static_cast<std::size_t>(array.size())};
}

py::array_t<float> cell_heat(const Array<float>& costs, double percentile) {
  if (costs.ndim() != 3) throw std::invalid_argument("costs must be (frames, rows, columns)");
  py::array_t<float> out({costs.shape(0), costs.shape(1), costs.shape(2)});
  const std::span<const float> in = values_of(costs);
  const std::span<float> heat(out.mutable_data(), in.size());
  const std::size_t cells = static_cast<std::size_t>(costs.shape(1) * costs.shape(2));
  const WithoutGil unlocked;
  for (std::size_t at = 0; at < in.size(); at += cells) {
    canvases::cell_heat(in.subspan(at, cells), percentile, heat.subspan(at, cells));
  }
  return out;
}

py::array_t<float> block_scores(const Array<float>& heat, int height, int width, int side) {
  if (heat.ndim() != 3) throw std::invalid_argument("heat must be (frames, rows, columns)");
  const canvases::BlockScorer scorer(static_cast<int>(heat.shape(1)), static_cast<int>(heat.shape(2)), height, width,
                                     side);
  py::array_t<float> out({heat.shape(0), static_cast<py::ssize_t>(scorer.blocks())});
  const std::span<const float> in = values_of(heat);
  const std::span<float> scores(out.mutable_data(), static_cast<std::size_t>(out.size()));
  const auto frames = static_cast<std::size_t>(heat.shape(0));
  const WithoutGil unlocked;
  for (std::size_t i = 0; i < frames; ++i) {
    scorer.score(in.subspan(i * scorer.cells(), scorer.cells()), scores.subspan(i * scorer.blocks(), scorer.blocks()));
  }
  return out;
}

std::unique_ptr<canvases::RankedFrames> ranked(const Array<float>& scores, std::size_t budget) {
  if (scores.ndim() != 2) throw std::invalid_argument("scores must be (frames, blocks)");
  const WithoutGil unlocked;
  return std::make_unique<canvases::RankedFrames>(values_of(scores), static_cast<int>(scores.shape(0)), budget);
}

const char* stop_name(canvases::Stop stop) {
  switch (stop) {
    case canvases::Stop::kReady:
      return "readiness_threshold";
    case canvases::Stop::kLowGain:
      return "readiness_threshold_low_gain";
    case canvases::Stop::kMostFrames:
      return "max_group_frames";
    case canvases::Stop::kTail:
      break;
  }
  return "tail_flush";
}

py::list groups(const canvases::RankedFrames& frames, double threshold, int min_frames, int max_frames,
                int coverage_bins, int min_coverage, double delta_ratio) {
  std::vector<canvases::Group> found;
  {
    const WithoutGil unlocked;
    found = canvases::readiness_groups(frames,
                                       {threshold, min_frames, max_frames, coverage_bins, min_coverage, delta_ratio});
  }
  py::list out;
  for (const canvases::Group& g : found) out.append(py::make_tuple(g.start, g.end, stop_name(g.stop)));
  return out;
}

py::array_t<std::int32_t> choose(const canvases::RankedFrames& frames, int start, int end, int anchor,
                                 const std::optional<Array<bool>>& good) {
  if (start < 0 || end > frames.frames() || start > end)
    throw std::invalid_argument("start and end must be within the frames");
  if (good && good->size() != frames.frames()) throw std::invalid_argument("good must have an entry a frame");
  std::span<const std::uint8_t> usable;
  if (good) usable = {reinterpret_cast<const std::uint8_t*>(good->data()), static_cast<std::size_t>(good->size())};
  std::vector<canvases::Block> blocks;
  {
    const WithoutGil unlocked;
    blocks = canvases::chosen_blocks(frames, usable, {start, end}, anchor);
  }
  py::array_t<std::int32_t> out({std::ssize(blocks), py::ssize_t{2}});
  std::int32_t* to = out.mutable_data();
  for (const canvases::Block& b : blocks) *to++ = b.frame, *to++ = b.block;
  return out;
}

py::array_t<double> place_blocks(py::handle source, const Array<std::int64_t>& packets,
                                 const Array<std::int64_t>& starts, const Array<std::int32_t>& placements,
                                 py::array_t<std::uint8_t, py::array::c_style>& images, int side, int facts_step,
                                 int threads, std::shared_ptr<const reader::VideoIndex> index,
                                 std::int64_t max_luma_samples) {
  const std::vector<pipeline::BlockPlacement> blocks = placements_of(placements);
  std::vector<pipeline::FrameFacts> facts(facts_step > 0 ? static_cast<std::size_t>(packets.size()) : 0);
  const pipeline::CanvasRequest request{
      .packets = {packets.data(), static_cast<std::size_t>(packets.size())},
      .starts = {starts.data(), static_cast<std::size_t>(starts.size())},
      .placements = blocks,
      .size = canvas_size(images, side),
      .facts_step = facts_step,
      .decoding = {std::move(index), threads, max_luma_samples},
  };
  const std::span<std::uint8_t> samples(images.mutable_data(), static_cast<std::size_t>(images.size()));
  media::Demuxer demuxer = open_demuxer(source);
  {
    const WithoutGil unlocked;
    pipeline::place_blocks(std::move(demuxer), request, samples, facts);
  }
  return facts_array(facts);
}

// Iterates over scaled frames; the GIL is free while they are decoded.
class FrameIterator {
 public:
  FrameIterator(py::handle source, const Array<std::int64_t>& packets, int height, int width, int facts_step,
                int threads, std::shared_ptr<const reader::VideoIndex> index, std::int64_t max_luma_samples)
      : facts_step_(facts_step),
        frames_(open_demuxer(source), {packets.data(), static_cast<std::size_t>(packets.size())}, height, width,
                {std::move(index), threads, max_luma_samples}) {
    if (facts_step < 1) throw std::invalid_argument("facts_step must be positive");
  }

  py::tuple next() {
    py::array_t<std::uint8_t> frame({frames_.height(), frames_.width(), 3});
    const std::span<std::uint8_t> samples(frame.mutable_data(), static_cast<std::size_t>(frame.size()));
    std::size_t slot = 0;
    pipeline::FrameSums sums;
    bool more;
    {
      const WithoutGil unlocked;
      const std::lock_guard lock(mutex_);
      more = frames_.next(samples, slot);
      const std::size_t row = 3 * static_cast<std::size_t>(frames_.width());
      for (int y = std::min(facts_step_, frames_.height()) / 2; more && y < frames_.height(); y += facts_step_) {
        sums.add(samples.subspan(row * static_cast<std::size_t>(y), row));
      }
    }
    if (!more) throw py::stop_iteration();
    const pipeline::FrameFacts facts = sums.facts();
    return py::make_tuple(slot, std::move(frame), facts_array({&facts, 1}));
  }

 private:
  int facts_step_;
  std::mutex mutex_;
  pipeline::ScaledFrames frames_;
};

}  // namespace

void bind_canvases(py::module_& m) {
  m.def("cell_heat", &cell_heat, py::arg("costs"), py::arg("percentile"),
        "Costs (frames, rows, columns) as heat in 0..1: log1p over its percentile in the frame, clipped.");
  m.def("block_scores", &block_scores, py::arg("heat"), py::arg("height"), py::arg("width"), py::arg("side"),
        "Sums (frames, blocks) float32 of heat (frames, rows, columns) stretched over frames of height x width.");
  py::class_<canvases::RankedFrames>(m, "RankedBlocks", "The blocks of frames in order of their scores.")
      .def(py::init(&ranked), py::arg("scores"), py::arg("budget"))
      .def(
          "mean_chunk_sum",
          [](const canvases::RankedFrames& frames, int size) {
            const WithoutGil unlocked;
            return canvases::mean_chunk_sum(frames, size);
          },
          py::arg("group_size"), "Mean over chunks of frames of the sum of their `budget` best blocks.")
      .def("groups", &groups, py::arg("threshold"), py::kw_only(), py::arg("min_frames"), py::arg("max_frames"),
           py::arg("coverage_bins"), py::arg("min_coverage"), py::arg("delta_ratio"),
           "Groups as (start, end, why it ends).")
      .def("choose", &choose, py::arg("start"), py::arg("end"), py::arg("anchor"), py::arg("good") = py::none(),
           "Frame and block (k, 2) int32 of the best blocks of the good frames but the anchor, the best first.");
  m.def("place_blocks", &place_blocks, py::arg("source"), py::arg("packets"), py::arg("starts"), py::arg("placements"),
        py::arg("images").noconvert(), py::kw_only(), py::arg("side"), py::arg("facts_step") = 0,
        py::arg("threads") = 0, py::arg("index") = py::none(),
        py::arg("max_luma_samples") = codec::Limits().max_luma_samples,
        "Writes blocks of the pictures of the given packets (T,) into `images` (n, H, W, 3) uint8 R'G'B': rows\n"
        "starts[i] to starts[i+1] of placements (N, 5), which are block row and column in the frame, canvas, and\n"
        "block row and column there, belong to packets[i]. The facts (T, 13) of every `facts_step`-th row of the\n"
        "frames, none where it is 0: mean, standard deviation and range of luma, red, green and blue, and the share\n"
        "of green screen.");
  py::class_<FrameIterator>(
      m, "FrameIterator",
      "Iterates over the pictures of the given packets (T,), in output order, scaled to height\n"
      "x width: their place among the packets, R'G'B' (height, width, 3) uint8, and facts (1, 13)\n"
      "as place_blocks gives them.")
      .def(py::init<py::handle, const Array<std::int64_t>&, int, int, int, int,
                    std::shared_ptr<const reader::VideoIndex>, std::int64_t>(),
           py::arg("source"), py::arg("packets"), py::arg("height"), py::arg("width"), py::kw_only(),
           py::arg("facts_step") = 1, py::arg("threads") = 0, py::arg("index") = py::none(),
           py::arg("max_luma_samples") = codec::Limits().max_luma_samples)
      .def("__iter__", [](py::object self) { return self; })
      .def("__next__", &FrameIterator::next);
}

}  // namespace ove::bindings
