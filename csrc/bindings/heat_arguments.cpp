#include "bindings/heat_arguments.h"

#include <algorithm>

namespace py = pybind11;

namespace ove::bindings {

using namespace saliency;
using codec::CodecPicture;

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

template <class T>
const T* data_of(const MaybeArray<T>& array, const char* name, std::vector<py::ssize_t> shape) {
  if (!array) return nullptr;
  if (array->ndim() != static_cast<py::ssize_t>(shape.size()) ||
      !std::equal(shape.begin(), shape.end(), array->shape())) {
    std::string want, got;
    for (const auto n : shape) want += std::to_string(n) + ",";
    for (py::ssize_t i = 0; i < array->ndim(); ++i) got += std::to_string(array->shape(i)) + ",";
    throw std::invalid_argument(std::string(name) + " must have the shape (" + want + ") for this picture, not (" +
                                got + ")");
  }
  return array->data();
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

DisplayWindow window_of(const std::array<int, 4>& window, int rotation) {
  if (rotation % 90 != 0) throw std::invalid_argument("rotation must be a multiple of 90 degrees");
  if (window[0] < 0 || window[1] < 0 || window[2] <= 0 || window[3] <= 0) {
    throw std::invalid_argument("window must be (x, y, width, height) inside the coded picture");
  }
  return {window[0], window[1], window[2], window[3], ((rotation / 90) % 4 + 4) % 4};
}

std::shared_ptr<const CodecPicture> decoded_picture(const py::object& picture) {
  std::shared_ptr<const CodecPicture> codec = codec_picture(picture);
  if (!codec->buffers) throw std::invalid_argument("only the headers of the picture were decoded");
  return codec;
}

PictureView PictureArguments::view() const {
  PictureView picture;
  picture.width = width;
  picture.height = height;
  picture.bit_depth = bit_depth;
  picture.intra = intra;
  const py::ssize_t rows = picture.block_rows(), columns = picture.block_columns();
  picture.mv = data_of(mv, "mv", {rows, columns, 2, 2});
  picture.pred = data_of(pred, "pred", {rows, columns});
  picture.ref_poc = data_of(ref_poc, "ref_poc", {rows, columns, 2});
  picture.poc = poc;
  picture.residual = data_of(residual, "residual", {height, width});
  if (bits) {
    if (bits->ndim() != 2) throw std::invalid_argument("bits must have two dimensions, rows and columns of CTUs");
    picture.bits = bits->data();
    picture.bits_rows = static_cast<int>(bits->shape(0));
    picture.bits_columns = static_cast<int>(bits->shape(1));
    picture.ctb_size = ctb_size;
  }
  return picture;
}

}  // namespace ove::bindings
