// What goes up to a GPU: tables and records of pictures, which the kernels' module reads by their addresses.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "bindings/bindings.h"
#include "bindings/gil.h"
#include "bindings/heat_arguments.h"
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

// Device memory of an array by its name; `bits` with rows and columns of CTUs.
using Addresses = std::map<std::string, std::uintptr_t>;

class Plan {
 public:
  Plan(const py::dict& params, const std::array<int, 4>& window, int rotation, bool mirrored, int ctb_size)
      : params_(heat_params(params)),
        window_(window_of(window, rotation, mirrored)),
        plan_(params_, window_, ove::bindings::geometry_of(params, window_), ctb_size) {}

  py::bytes tables() const { return bytes_of(plan_.tables()); }
  py::bytes block() const {
    return py::bytes(reinterpret_cast<const char*>(plan_.block().data()), plan_.block().size());
  }
  std::int64_t most_bytes() const { return plan_.most_bytes(); }

  py::tuple pack(std::uintptr_t memory, std::uintptr_t there, std::int32_t sampled, const PictureView& picture) const {
    std::int64_t bytes = 0;
    cuda::PictureRecord record;
    {
      const WithoutGil unlocked;
      record =
          plan_.pack(picture, reinterpret_cast<std::byte*>(memory), reinterpret_cast<const std::byte*>(there), bytes);
    }
    record.sampled = sampled;
    return py::make_tuple(bytes, record.level_block_count, bytes_of(record));
  }
  py::tuple pack_picture(std::uintptr_t memory, std::uintptr_t there, std::int32_t sampled,
                         const py::object& picture) const {
    pipeline::PictureArrays arrays;
    return pack(memory, there, sampled, arrays.view(*decoded_picture(picture), params_, true));
  }
  py::bytes in_place(const Addresses& arrays, std::int32_t sampled, int width, int height, std::int32_t poc,
                     std::array<int, 2> bits_shape, int ctb_size, int bit_depth, bool intra) const {
    PictureView picture;
    picture.width = width;
    picture.height = height;
    picture.bit_depth = bit_depth;
    picture.intra = intra;
    picture.poc = poc;
    const auto find = [&]<class T>(const char* name, const T*& array) {
      const auto found = arrays.find(name);
      if (found != arrays.end()) array = reinterpret_cast<const T*>(found->second);
    };
    find("mv", picture.mv);
    find("pred", picture.pred);
    find("ref_poc", picture.ref_poc);
    find("residual", picture.residual);
    find("bits", picture.bits);
    picture.bits_rows = bits_shape[0];
    picture.bits_columns = bits_shape[1];
    picture.ctb_size = ctb_size;
    cuda::PictureRecord record = plan_.in_place(picture);
    record.sampled = sampled;
    return bytes_of(record);
  }

 private:
  HeatParams params_;
  DisplayWindow window_;
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
  plan.def(py::init<const py::dict&, const std::array<int, 4>&, int, bool, int>(), py::arg("params"), py::arg("window"),
           py::arg("rotation") = 0, py::arg("mirrored") = false, py::kw_only(), py::arg("ctb_size"));
  plan.def_property_readonly("tables", &Plan::tables, "What the functions of _cuda take as `tables`.");
  plan.def_property_readonly("block", &Plan::block, "The memory that the tables lie in, to be copied to the GPU.");
  plan.def_property_readonly("most_bytes", &Plan::most_bytes, "Bytes of the largest picture that pack writes.");
  def_with_arrays<Plan, std::uintptr_t, std::uintptr_t, std::int32_t>(
      plan, "pack", &Plan::pack,
      "Writes a picture, which counts for number `sampled`, to the address `memory`, where most_bytes lie and from\n"
      "which they are copied to the address `there`: (bytes written, level blocks, record for _cuda.take_in).",
      py::arg("memory"), py::arg("there"), py::arg("sampled"));
  plan.def("pack_picture", &Plan::pack_picture, py::arg("memory"), py::arg("there"), py::arg("sampled"),
           py::arg("picture"), "The same of a Picture.");
  plan.def("in_place", &Plan::in_place, py::arg("arrays"), py::arg("sampled"), py::kw_only(), py::arg("width"),
           py::arg("height"), py::arg("poc"), py::arg("bits_shape"), py::arg("ctb_size"), py::arg("bit_depth"),
           py::arg("intra"),
           "The record of a picture whose whole arrays lie on the GPU, contiguous, at these addresses by their names.");
  m.def("ranking_plan", &ranking_plan, py::arg("valid"), py::arg("keep_whole"), py::arg("params"),
        "Of pictures (T,) with patches (rows, columns): (classes, static_classes or None, selectable, kept or None,\n"
        "first_share).");
}

}  // namespace ove::bindings
