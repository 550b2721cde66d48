// What goes up to a GPU: tables and records of pictures, which the kernels' module reads by their addresses.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <set>
#include <string>

#include "bindings/bindings.h"
#include "bindings/gil.h"
#include "bindings/heat_arguments.h"
#include "cuda/heat_tables.h"
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
  Plan(const py::dict& params, const std::array<int, 4>& window, int rotation, int ctb_size, std::int64_t coded_samples)
      : params_(heat_params(params)),
        window_(window_of(window, rotation)),
        geometry_(ove::bindings::geometry_of(params, window_)),
        plan_(params_, window_, geometry_, ctb_size, coded_samples) {}

  py::bytes tables() const { return bytes_of(plan_.tables()); }
  py::bytes block() const {
    return py::bytes(reinterpret_cast<const char*>(plan_.block().data()), plan_.block().size());
  }
  std::array<int, 2> grid() const { return {plan_.tables().grid.rows, plan_.tables().grid.columns}; }
  // Offsets of the sections of a record.
  py::dict sections() const {
    using namespace py::literals;
    const cuda::RecordLayout& r = plan_.tables().record;
    return py::dict("mv"_a = r.mv, "pred"_a = r.pred, "ref_poc"_a = r.ref_poc, "bits"_a = r.bits,
                    "level_blocks"_a = r.level_blocks);
  }
  py::tuple dense(const std::set<std::string>& given, int width, int height, std::int32_t poc,
                  std::array<int, 2> bits_shape, int ctb_size, int bit_depth, bool intra) const {
    PictureView picture;
    picture.width = width;
    picture.height = height;
    picture.bit_depth = bit_depth;
    picture.intra = intra;
    picture.poc = poc;
    const auto elsewhere = [&]<class T>(const char* name, const T*& array) {
      static const T nothing{};
      if (given.contains(name)) array = &nothing;
    };
    elsewhere("mv", picture.mv);
    elsewhere("pred", picture.pred);
    elsewhere("ref_poc", picture.ref_poc);
    elsewhere("residual", picture.residual);
    elsewhere("bits", picture.bits);
    picture.bits_rows = bits_shape[0];
    picture.bits_columns = bits_shape[1];
    picture.ctb_size = ctb_size;
    const cuda::RecordSizes sizes = plan_.dense_sizes(picture);
    const std::vector<cuda::LevelBlock> blocks = plan_.dense_blocks();
    return py::make_tuple(
        py::bytes(reinterpret_cast<const char*>(blocks.data()), blocks.size() * sizeof(cuda::LevelBlock)), sizes.levels,
        sizes.bytes, bytes_of(sizes));
  }

  py::tuple pack(std::uintptr_t record, const PictureView& picture) const { return pack(record, picture, nullptr); }
  py::tuple pack_picture(std::uintptr_t record, const py::object& picture) const {
    DecodedArrays arrays;
    const std::shared_ptr<const hevc::CodecPicture> codec = decoded_picture(picture);
    return pack(record, arrays.view(*codec, params_, true), sparse(*codec));
  }
  std::int64_t record_bytes(const py::object& picture) const {
    return plan_.record_bytes(picture.is_none() ? nullptr : sparse(*decoded_picture(picture)));
  }

 private:
  static const hevc::SparseResidual* sparse(const hevc::CodecPicture& picture) {
    return picture.detail == hevc::Detail::kCoefficients ? &picture.residual->sparse : nullptr;
  }
  py::tuple pack(std::uintptr_t record, const PictureView& picture, const hevc::SparseResidual* residual) const {
    cuda::RecordSizes sizes;
    {
      const WithoutGil unlocked;
      sizes = plan_.pack(picture, residual, reinterpret_cast<std::byte*>(record));
    }
    return py::make_tuple(sizes.bytes, bytes_of(sizes));
  }

  HeatParams params_;
  DisplayWindow window_;
  Geometry geometry_;
  cuda::HeatPlan plan_;
};

// What ranking on a GPU is told beforehand: (classes, static_classes or None, selectable, kept or None with tau).
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
                        kept);
}

}  // namespace

void bind_heat_plan(py::module_& m) {
  py::class_<Plan> plan(m, "HeatPlan", "What kernels know of a clip, and its pictures as they go up to a GPU.");
  plan.def(py::init<const py::dict&, const std::array<int, 4>&, int, int, std::int64_t>(), py::arg("params"),
           py::arg("window"), py::arg("rotation"), py::arg("ctb_size"), py::arg("coded_samples") = 0);
  plan.def_property_readonly("tables", &Plan::tables, "A record that the functions of _cuda take.");
  plan.def_property_readonly("block", &Plan::block, "The memory that the tables lie in, to be copied to the GPU.");
  plan.def("record_bytes", &Plan::record_bytes, py::arg("picture"),
           "Bytes that hold the record of a Picture, or of any whose residual is an array (None).");
  plan.def_property_readonly("grid", &Plan::grid, "Rows and columns of the 4x4 blocks of a record, from the window's.");
  plan.def_property_readonly("sections", &Plan::sections, "Offsets of what a record is made of.");
  plan.def(
      "dense", &Plan::dense, py::arg("given"), py::kw_only(), py::arg("width"), py::arg("height"), py::arg("poc"),
      py::arg("bits_shape"), py::arg("ctb_size"), py::arg("bit_depth"), py::arg("intra"),
      "Of a record with the levels of every sample of the window, of a picture whose `given` arrays (their names) lie\n"
      "elsewhere: (its level blocks, offset of the levels, bytes, what _cuda.take_in needs to know of them).");
  def_with_arrays<Plan, std::uintptr_t>(plan, "pack",
                                        py::overload_cast<std::uintptr_t, const PictureView&>(&Plan::pack, py::const_),
                                        "Writes a picture to `record_bytes` at this address; (bytes written, what\n"
                                        "_cuda.take_in needs to know of them).",
                                        py::arg("record"));
  plan.def("pack_picture", &Plan::pack_picture, py::arg("record"), py::arg("picture"), "The same of a Picture.");
  m.def("ranking_plan", &ranking_plan, py::arg("valid"), py::arg("keep_whole"), py::arg("params"),
        "Of pictures (T,) with patches (rows, columns): (classes, static_classes or None, selectable, kept or None).");
}

}  // namespace ove::bindings
