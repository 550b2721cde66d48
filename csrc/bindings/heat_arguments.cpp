#include "bindings/heat_arguments.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "bindings/bindings.h"

namespace py = pybind11;

namespace ove::bindings {

using namespace saliency;

namespace {

template <class Enum>
Enum choice(const char* parameter, const std::string& value,
            std::initializer_list<std::pair<const char*, Enum>> options) {
  std::string names;
  for (const auto& [name, option] : options) {
    if (value == name) return option;
    names += (names.empty() ? "'" : ", '") + std::string(name) + "'";
  }
  throw std::invalid_argument(std::string(parameter) + " must be one of " + names + ", not '" + value + "'");
}

constexpr py::ssize_t kAnyLength = -1;

std::string shape_name(const std::vector<py::ssize_t>& shape) {
  std::string name;
  for (const py::ssize_t n : shape) {
    name += (name.empty() ? "" : ", ") + (n == kAnyLength ? std::string("any") : std::to_string(n));
  }
  return "(" + name + ")";
}

// The array of this name, null where it is None; kept alive by `kept`. Of a GPU's array only the address is taken.
template <class T>
const T* array_of(const py::object& picture, const char* name, const std::vector<py::ssize_t>& want, bool on_gpu,
                  std::vector<py::object>& kept) {
  py::object array = picture.attr(name);
  if (array.is_none()) return nullptr;
  if (!on_gpu) array = array.cast<Array<T>>();
  const auto got = array.attr("shape").cast<std::vector<py::ssize_t>>();
  if (got.size() != want.size() ||
      !std::equal(want.begin(), want.end(), got.begin(), [](auto w, auto g) { return w == g || w == kAnyLength; })) {
    throw py::value_error(name + std::string(" must have the shape ") + shape_name(want) + " for this picture, not " +
                          shape_name(got));
  }
  kept.push_back(array);
  return on_gpu ? reinterpret_cast<const T*>(array.attr("data_ptr")().cast<std::uintptr_t>())
                : static_cast<const T*>(py::reinterpret_borrow<py::array>(array).data());
}

}  // namespace

HeatParams heat_params(const py::dict& p) {
  const auto text = [&](const char* name) { return p[name].cast<std::string>(); };
  HeatParams params;
  params.interpolation =
      choice<Interpolation>("interpolation", text("interpolation"),
                            {{"bilinear", Interpolation::kBilinear}, {"cubic", Interpolation::kCubic}});
  params.percentile = p["percentile"].cast<double>();
  params.clip_scope = choice<bool>("percentile_scope", text("percentile_scope"), {{"frame", false}, {"clip", true}});
  params.compensate = choice<Compensate>("compensate", text("compensate"),
                                         {{"none", Compensate::kNone},
                                          {"median", Compensate::kMedian},
                                          {"mean", Compensate::kMean},
                                          {"similarity", Compensate::kSimilarity},
                                          {"affine", Compensate::kAffine}});
  params.vector = choice<VectorMode>("vector", text("vector"),
                                     {{"l0", VectorMode::kL0},
                                      {"l0_else_l1", VectorMode::kL0ElseL1},
                                      {"both", VectorMode::kBoth},
                                      {"displacement", VectorMode::kDisplacement}});
  params.intra_blocks = choice<IntraBlocks>("intra_blocks", text("intra_blocks"),
                                            {{"as_coded", IntraBlocks::kAsCoded},
                                             {"zero", IntraBlocks::kZero},
                                             {"median", IntraBlocks::kMedian},
                                             {"max", IntraBlocks::kMax}});
  params.accumulate =
      choice<Accumulate>("accumulate", text("accumulate"),
                         {{"none", Accumulate::kNone}, {"sum", Accumulate::kSum}, {"max", Accumulate::kMax}});
  params.zero_intra_pictures =
      choice<bool>("i_pictures", text("i_pictures"), {{"as_coded", false}, {"zero", true}, {"keep", false}});
  params.fuse = choice<Fuse>(
      "fuse", text("fuse"),
      {{"weighted", Fuse::kWeighted}, {"max", Fuse::kMax}, {"sum", Fuse::kSum}, {"geomean", Fuse::kGeomean}});
  params.mv_weight = p["mv_weight"].cast<double>();
  params.residual_weight = p["residual_weight"].cast<double>();
  params.bits_weight = p["bits_weight"].cast<double>();
  params.reference_motion = choice<bool>("motion_map", text("motion_map"), {{"exact", false}, {"reference", true}});
  params.local_variance = p["local_variance"].cast<int>();
  params.center_prior = p["center_prior"].cast<double>();
  params.center_sigma = p["center_sigma"].cast<double>();
  params.quantize = p["quantize"].cast<bool>();
  return params;
}

RankingParams ranking_params(const py::dict& p) {
  RankingParams params;
  params.tau = p["tau"].cast<std::optional<double>>();
  params.budget = p["budget"].cast<std::optional<std::int64_t>>();
  params.keep_first_frame = p["keep_first_frame"].cast<bool>();
  params.first_frame_share = p["first_frame_share"].cast<double>();
  params.pad = choice<bool>("padding", p["padding"].cast<std::string>(), {{"exclude", false}, {"zero", true}});
  params.static_fallback = p["static_fallback"].cast<bool>();
  params.static_level = p["static_level"].cast<double>();
  params.static_contrast = p["static_contrast"].cast<double>();
  params.static_frames = p["static_frames"].cast<int>();
  return params;
}

Geometry geometry_of(const py::dict& p, const DisplayWindow& window) {
  if (py::isinstance<py::tuple>(p["size"])) {
    const auto [height, width] = p["size"].cast<std::pair<int, int>>();
    return make_stretched_geometry(window.display_width(), window.display_height(), width, height,
                                   p["patch_size"].cast<int>());
  }
  const auto resize = choice<Resize>("resize", p["resize"].cast<std::string>(),
                                     {{"crop", Resize::kCrop},
                                      {"letterbox", Resize::kLetterbox},
                                      {"stretch", Resize::kStretch},
                                      {"native", Resize::kNative}});
  return make_geometry(window.display_width(), window.display_height(), resize, p["size"].cast<int>(),
                       p["patch_size"].cast<int>());
}

DisplayWindow window_of(const std::array<int, 4>& window, int rotation, bool mirrored) {
  if (rotation % 90 != 0) throw std::invalid_argument("rotation must be a multiple of 90 degrees");
  if (window[0] < 0 || window[1] < 0 || window[2] <= 0 || window[3] <= 0) {
    throw std::invalid_argument("window must be (x, y, width, height) inside the coded picture");
  }
  return {window[0], window[1], window[2], window[3], {((rotation / 90) % 4 + 4) % 4, mirrored}};
}

GivenPicture::GivenPicture(const py::object& picture, bool on_gpu) {
  if (!py::hasattr(picture, "intra")) {
    decoded_ = codec_picture(picture);
    if (!decoded_->buffers) throw std::invalid_argument("only the headers of the picture were decoded");
    return;
  }
  view_.width = picture.attr("coded_width").cast<int>();
  view_.height = picture.attr("coded_height").cast<int>();
  view_.bit_depth = picture.attr("bit_depth").cast<int>();
  view_.intra = picture.attr("intra").cast<bool>();
  view_.poc = picture.attr("poc").cast<std::int32_t>();
  view_.ctb_size = picture.attr("ctb_size").cast<int>();
  if (on_gpu) entries_ = picture.attr("entries").cast<std::int64_t>();
  const auto array = [&]<class T>(const T*& pointer, const char* name, std::vector<py::ssize_t> shape) {
    if (on_gpu) shape.insert(shape.begin(), entries_);
    pointer = array_of<T>(picture, name, shape, on_gpu, kept_);
  };
  const py::ssize_t rows = view_.block_rows(), columns = view_.block_columns();
  array(view_.mv, "mv", {rows, columns, 2, 2});
  array(view_.pred, "pred", {rows, columns});
  array(view_.ref_poc, "ref_poc", {rows, columns, 2});
  array(view_.residual, "residual", {view_.height, view_.width});
  array(view_.bits, "bits", {kAnyLength, kAnyLength});
  if (view_.bits != nullptr) {
    const auto shape = kept_.back().attr("shape").cast<std::vector<int>>();
    view_.bits_rows = shape[shape.size() - 2];
    view_.bits_columns = shape.back();
  }
}

PictureView GivenPicture::entry(std::int64_t number) const {
  if (number < 0 || number >= entries_) throw std::out_of_range("the index is outside the arrays");
  PictureView view = view_;
  const auto move = [number](auto*& pointer, std::int64_t size) {
    if (pointer != nullptr) pointer += number * size;
  };
  const std::int64_t blocks = std::int64_t{view.block_rows()} * view.block_columns();
  move(view.mv, 4 * blocks);
  move(view.pred, blocks);
  move(view.ref_poc, 2 * blocks);
  move(view.residual, std::int64_t{view.width} * view.height);
  move(view.bits, std::int64_t{view.bits_rows} * view.bits_columns);
  return view;
}

}  // namespace ove::bindings
