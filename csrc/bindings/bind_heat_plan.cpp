// What goes up to a GPU: tables and records of pictures, which the kernels' module reads by their addresses.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <vector>

#include "bindings/bindings.h"
#include "bindings/gil.h"
#include "bindings/heat_arguments.h"
#include "bindings/scorer.h"
#include "cuda/heat_tables.h"
#include "pipeline/picture_arrays.h"
#include "saliency/saliency.h"

namespace py = pybind11;

namespace ove::bindings {

namespace {

using namespace saliency;

template <class T>
py::bytes bytes_of(const T& value) {
  return py::bytes(reinterpret_cast<const char*>(&value), sizeof(value));
}

class Plan {
 public:
  Plan(const Scorer& scorer, int ctb_size)
      : params_(scorer.params()), plan_(params_, scorer.window(), scorer.geometry(), ctb_size) {}

  py::bytes tables() const { return bytes_of(plan_.tables()); }
  py::bytes block() const {
    return py::bytes(reinterpret_cast<const char*>(plan_.block().data()), plan_.block().size());
  }
  std::int64_t most_bytes() const { return plan_.most_bytes(); }

  py::tuple pack(std::uintptr_t memory, std::uintptr_t there, std::int32_t sampled, const py::object& picture) const {
    const GivenPicture given(picture);
    pipeline::PictureArrays arrays;
    std::int64_t bytes = 0;
    cuda::PictureRecord record;
    {
      const WithoutGil unlocked;
      record = plan_.pack(given.view(arrays, params_, false, true), reinterpret_cast<std::byte*>(memory),
                          reinterpret_cast<const std::byte*>(there), bytes);
    }
    record.sampled = sampled;
    return py::make_tuple(bytes, record.level_block_count, bytes_of(record));
  }
  // Pictures as (entry, sampled, poc, intra).
  py::bytes in_place(const py::object& clip,
                     const std::vector<std::tuple<std::int64_t, std::int32_t, std::int32_t, bool>>& pictures) const {
    const GivenPicture given(clip, true);
    std::vector<cuda::PictureRecord> records;
    records.reserve(pictures.size());
    for (const auto& [entry, sampled, poc, intra] : pictures) {
      PictureView view = given.entry(entry);
      view.poc = poc;
      view.intra = intra;
      records.push_back(plan_.in_place(view));
      records.back().sampled = sampled;
    }
    return py::bytes(reinterpret_cast<const char*>(records.data()), records.size() * sizeof(cuda::PictureRecord));
  }

 private:
  HeatParams params_;
  cuda::HeatPlan plan_;
};

// What ranking on a GPU is told beforehand: (classes, static_classes or None, selectable, kept or None with tau,
// first_share).
py::tuple ranking_plan(const Array<bool>& valid, const Array<bool>& keep_whole, const py::dict& p) {
  const RankingParams params = ranking_params(p);
  const auto bytes = [](const Array<bool>& a) {
    return std::span(reinterpret_cast<const std::uint8_t*>(a.data()), static_cast<std::size_t>(a.size()));
  };
  ScoreView view;
  view.frames = static_cast<int>(keep_whole.size());
  view.patches = static_cast<int>(valid.size());
  view.valid = bytes(valid);
  view.keep_whole = bytes(keep_whole);
  if (static_cast<std::uint64_t>(view.frames) * static_cast<std::uint64_t>(view.patches) >> kIndexBits != 0) {
    throw std::invalid_argument("more patches than 2^30: select from fewer pictures");
  }
  const auto classes = [&](bool uniform) {
    const std::vector<std::uint8_t> values = classify(view, params, uniform);
    return py::array_t<std::uint8_t>(static_cast<py::ssize_t>(values.size()), values.data());
  };
  const std::int64_t selectable =
      params.pad ? view.patches : std::count(view.valid.begin(), view.valid.end(), std::uint8_t{1});
  py::object kept = py::none();
  if (!params.tau) kept = py::int_(std::clamp<std::int64_t>(params.budget.value_or(0), 0, selectable * view.frames));
  return py::make_tuple(classes(false), params.static_fallback ? py::object(classes(true)) : py::none(), selectable,
                        kept, first_share(view, params));
}

}  // namespace

void bind_heat_plan(py::module_& m) {
  py::class_<Plan> plan(m, "HeatPlan", "What kernels know of a clip, and its pictures as they go up to a GPU.");
  plan.def(py::init<const Scorer&, int>(), py::arg("scorer"), py::arg("ctb_size"));
  plan.def_property_readonly("tables", &Plan::tables, "What the functions of _cuda take as `tables`.");
  plan.def_property_readonly("block", &Plan::block, "The memory that the tables lie in, to be copied to the GPU.");
  plan.def_property_readonly("most_bytes", &Plan::most_bytes, "Bytes of the largest picture that pack writes.");
  plan.def(
      "pack", &Plan::pack, py::arg("memory"), py::arg("there"), py::arg("sampled"), py::arg("picture"),
      "Writes a picture, which counts for number `sampled`, to the address `memory`, where most_bytes lie and from\n"
      "which they are copied to the address `there`: (bytes written, level blocks, record for _cuda.take_in).");
  plan.def(
      "in_place", &Plan::in_place, py::arg("clip"), py::arg("pictures"),
      "The records of pictures, (entry, sampled, poc, intra) each, of a clip whose arrays lie on the GPU, contiguous\n"
      "and with `entries` entries.");
  m.def("ranking_plan", &ranking_plan, py::arg("valid"), py::arg("keep_whole"), py::arg("params"),
        "Of pictures (T,) with patches (rows, columns): (classes, static_classes or None, selectable, kept or None,\n"
        "first_share).");
}

}  // namespace ove::bindings
