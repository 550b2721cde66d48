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
#include "common/geometry.h"
#include "hevc/picture.h"
#include "saliency/ranking.h"
#include "saliency/saliency.h"

namespace py = pybind11;

namespace {

using namespace ove::saliency;
using ove::bindings::WithoutGil;
using ove::hevc::CodecPicture;

template <class T>
using Array = py::array_t<T, py::array::c_style | py::array::forcecast>;
template <class T>
using MaybeArray = std::optional<Array<T>>;

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

ove::Geometry geometry_of(const py::dict& p, const ove::DisplayWindow& window) {
  using ove::Resize;
  const auto resize = choice<Resize>("resize", p["resize"].cast<std::string>(),
                                     {{"crop", Resize::kCrop},
                                      {"letterbox", Resize::kLetterbox},
                                      {"stretch", Resize::kStretch},
                                      {"native", Resize::kNative}});
  return ove::make_geometry(window.display_width(), window.display_height(), resize, p["size"].cast<int>(),
                            p["patch_size"].cast<int>());
}

ove::DisplayWindow window_of(const std::array<int, 4>& window, int rotation) {
  if (rotation % 90 != 0) throw std::invalid_argument("rotation must be a multiple of 90 degrees");
  if (window[0] < 0 || window[1] < 0 || window[2] <= 0 || window[3] <= 0) {
    throw std::invalid_argument("window must be (x, y, width, height) inside the coded picture");
  }
  return {window[0], window[1], window[2], window[3], ((rotation / 90) % 4 + 4) % 4};
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

// The scorer of one clip. Calls from several threads take turns.
class Scorer {
 public:
  Scorer(const py::dict& params, const std::array<int, 4>& window, int rotation)
      : params_(heat_params(params)),
        window_(window_of(window, rotation)),
        geometry_(geometry_of(params, window_)),
        saliency_(params_, window_, geometry_) {}

  // Source: PictureView, or a decoded picture.
  template <class Source>
  void measure(const Source& picture) {
    const WithoutGil unlocked;
    const std::lock_guard lock(mutex_);
    saliency_.measure(view(picture));
  }

  template <class Source>
  py::array_t<float> score(const Source& picture) {
    return fill(geometry_.rows, geometry_.columns, [&](std::span<float> out) { saliency_.score(view(picture), out); });
  }

  template <class Source>
  py::array_t<float> heat(const Source& picture) {
    return fill(geometry_.canvas_height(), geometry_.canvas_width(),
                [&](std::span<float> out) { saliency_.heat(view(picture), out); });
  }

  py::array_t<bool> valid() const {
    py::array_t<bool> out({geometry_.rows, geometry_.columns});
    for (int row = 0; row < geometry_.rows; ++row) {
      for (int column = 0; column < geometry_.columns; ++column) {
        out.mutable_at(row, column) = geometry_.covers(row, column);
      }
    }
    return out;
  }

  std::tuple<float, float, float> scales() const {
    const Scales& s = saliency_.scales();
    return {s.motion, s.residual, s.bits};
  }
  void set_clip_scales(const std::array<float, 3>& s) { saliency_.set_clip_scales({s[0], s[1], s[2]}); }
  double full_score() const { return saliency_.full_score(); }
  const ove::Geometry& geometry() const { return geometry_; }

 private:
  static const PictureView& view(const PictureView& picture) { return picture; }

  PictureView view(const CodecPicture& picture) {
    const ove::hevc::PictureBuffers& buffers = *picture.buffers;
    PictureView view;
    view.width = picture.width();
    view.height = picture.height();
    view.bit_depth = picture.sps->bit_depth_luma;
    view.intra = picture.type == ove::hevc::SliceType::kI;
    view.mv = reinterpret_cast<const std::int16_t*>(buffers.mv.data());
    view.poc = picture.poc;
    pred_.resize(buffers.mv.size());
    picture.copy_pred(pred_.data());
    view.pred = pred_.data();
    if (params_.vector == VectorMode::kDisplacement) {
      ref_poc_.resize(2 * buffers.mv.size());
      picture.copy_ref_poc(ref_poc_.data());
      view.ref_poc = ref_poc_.data();
    }
    if (picture.detail == ove::hevc::Detail::kResidual) {
      view.residual = buffers.residual.data();
      coded_.clear();
      for (const auto& block : buffers.coded_blocks) coded_.push_back({block.x4, block.y4, block.size4});
      view.coded = coded_;
    }
    view.bits = buffers.bits.data();
    view.bits_rows = picture.sps->height_in_ctbs();
    view.bits_columns = picture.sps->width_in_ctbs();
    view.ctb_size = picture.sps->ctb_size();
    return view;
  }

  template <class Compute>
  py::array_t<float> fill(int rows, int columns, Compute compute) {
    py::array_t<float> out({rows, columns});
    const std::span<float> span(out.mutable_data(), static_cast<std::size_t>(out.size()));
    const WithoutGil unlocked;
    const std::lock_guard lock(mutex_);
    compute(span);
    return out;
  }

  HeatParams params_;
  ove::DisplayWindow window_;
  ove::Geometry geometry_;
  Saliency saliency_;
  std::mutex mutex_;
  // of the picture at work
  std::vector<std::uint8_t> pred_;
  std::vector<std::int32_t> ref_poc_;
  std::vector<CodedSquare> coded_;
};

// Calls method(scorer, picture) with the arrays of one picture.
template <class Result>
auto with_picture(Result (Scorer::*method)(const PictureView&)) {
  return [method](Scorer& scorer, int width, int height, const MaybeArray<std::int16_t>& mv,
                  const MaybeArray<std::int16_t>& residual, const MaybeArray<std::uint8_t>& pred,
                  const MaybeArray<std::int32_t>& ref_poc, std::int32_t poc, const MaybeArray<std::int32_t>& bits,
                  int ctb_size, int bit_depth, bool intra) {
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
    return (scorer.*method)(picture);
  };
}

py::array_t<bool> keep(const Array<float>& scores, const Array<bool>& valid, const Array<bool>& keep_whole,
                       double full_score, const py::dict& p) {
  if (scores.ndim() != 3 || valid.size() != scores.shape(1) * scores.shape(2) || keep_whole.size() != scores.shape(0)) {
    throw std::invalid_argument(
        "scores, valid and keep_whole must have the shapes (T,rows,columns), (rows,columns), (T,)");
  }
  RankingParams params;
  params.tau = p["tau"].cast<std::optional<double>>();
  params.budget = p["budget"].cast<std::optional<std::int64_t>>();
  params.keep_first_frame = p["keep_first_frame"].cast<bool>();
  params.pad = choice<bool>("padding", p["padding"].cast<std::string>(), {{"exclude", false}, {"zero", true}});
  params.static_fallback = p["static_fallback"].cast<bool>();
  params.static_level = p["static_level"].cast<double>();
  params.static_contrast = p["static_contrast"].cast<double>();
  params.static_frames = p["static_frames"].cast<int>();
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
  scorer.def(py::init<const py::dict&, const std::array<int, 4>&, int>(), py::arg("params"), py::arg("window"),
             py::arg("rotation"));
  const auto picture_method = [&](const char* name, auto method, const char* doc) {
    scorer.def(name, with_picture(method), doc, py::kw_only(), py::arg("width"), py::arg("height"), py::arg("mv"),
               py::arg("residual"), py::arg("pred"), py::arg("ref_poc"), py::arg("poc"), py::arg("bits"),
               py::arg("ctb_size"), py::arg("bit_depth"), py::arg("intra"));
  };
  picture_method("measure", &Scorer::measure<PictureView>, "First pass of percentile_scope='clip'.");
  picture_method("score", &Scorer::score<PictureView>, "Patch sums, (rows, columns) float32.");
  picture_method("heat", &Scorer::heat<PictureView>,
                 "Fused heat on the canvas, (canvas_height, canvas_width) float32.");
  const auto decoded_method = [&](const char* name, auto method) {
    scorer.def(
        name,
        [method](Scorer& self, const py::object& picture) {
          const std::shared_ptr<const CodecPicture> codec = codec_picture(picture);
          if (!codec->buffers) throw std::invalid_argument("only the headers of the picture were decoded");
          return (self.*method)(*codec);
        },
        "The same of a Picture, in the decoder's memory.", py::arg("picture"));
  };
  decoded_method("measure_picture", &Scorer::measure<CodecPicture>);
  decoded_method("score_picture", &Scorer::score<CodecPicture>);
  decoded_method("heat_picture", &Scorer::heat<CodecPicture>);
  scorer.def("valid", &Scorer::valid, "Patches wholly inside the picture, (rows, columns) bool.");
  scorer.def_property_readonly("scales", &Scorer::scales, "Factors of |v|, |Y - 128| and log1p(bits) in use.");
  scorer.def("set_clip_scales", &Scorer::set_clip_scales, py::arg("scales"));
  scorer.def_property_readonly("full_score", &Scorer::full_score);
  scorer.def_property_readonly("geometry", [](const Scorer& s) {
    const Geometry& g = s.geometry();
    using namespace py::literals;
    return py::dict("source_width"_a = g.source_width, "source_height"_a = g.source_height,
                    "resized_width"_a = g.resized_width, "resized_height"_a = g.resized_height,
                    "offset_x"_a = g.offset_x, "offset_y"_a = g.offset_y, "rows"_a = g.rows, "columns"_a = g.columns);
  });
  m.def("keep_patches", &keep, py::arg("scores"), py::arg("valid"), py::arg("keep_whole"), py::arg("full_score"),
        py::arg("params"), "Ranks patches; (T, rows, columns) bool.");
}

}  // namespace ove::bindings
