// Arguments of scoring as Python gives them: parameters, windows, and the arrays of pictures.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bindings/bindings.h"
#include "codec/picture.h"
#include "common/geometry.h"
#include "saliency/params.h"
#include "saliency/picture.h"
#include "saliency/ranking.h"

namespace ove::bindings {

template <class T>
using MaybeArray = std::optional<Array<T>>;

// All throw std::invalid_argument, naming the parameter and what it may be.
saliency::HeatParams heat_params(const pybind11::dict& params);
saliency::RankingParams ranking_params(const pybind11::dict& params);
// A tuple as size is the height and width of a canvas over which pictures are stretched.
Geometry geometry_of(const pybind11::dict& params, const DisplayWindow& window);
DisplayWindow window_of(const std::array<int, 4>& window, int rotation);

// A _core.Picture with arrays; throws std::invalid_argument for one of headers alone.
std::shared_ptr<const codec::CodecPicture> decoded_picture(const pybind11::object& picture);

// The picture's arrays, each null where it is None; they are kept alive by the arguments.
struct PictureArguments {
  int width, height;
  MaybeArray<std::int16_t> mv, residual;
  MaybeArray<std::uint8_t> pred;
  MaybeArray<std::int32_t> ref_poc;
  std::int32_t poc;
  MaybeArray<std::int32_t> bits;
  int ctb_size, bit_depth;
  bool intra;

  // Throws std::invalid_argument for shapes that do not fit the size.
  saliency::PictureView view() const;
};

// Defines a method (self, extra..., *, arrays of a picture): method(self, extra..., view).
template <class Self, class... Extra, class Method, class... Names>
void def_with_arrays(pybind11::class_<Self>& cls, const char* name, Method method, const char* doc,
                     const Names&... names) {
  namespace py = pybind11;
  cls.def(
      name,
      [method](Self& self, Extra... extra, int width, int height, const MaybeArray<std::int16_t>& mv,
               const MaybeArray<std::int16_t>& residual, const MaybeArray<std::uint8_t>& pred,
               const MaybeArray<std::int32_t>& ref_poc, std::int32_t poc, const MaybeArray<std::int32_t>& bits,
               int ctb_size, int bit_depth, bool intra) {
        const PictureArguments picture{width, height, mv,       residual,  pred, ref_poc,
                                       poc,   bits,   ctb_size, bit_depth, intra};
        return (self.*method)(extra..., picture.view());
      },
      doc, names..., py::kw_only(), py::arg("width"), py::arg("height"), py::arg("mv"), py::arg("residual"),
      py::arg("pred"), py::arg("ref_poc"), py::arg("poc"), py::arg("bits"), py::arg("ctb_size"), py::arg("bit_depth"),
      py::arg("intra"));
}

}  // namespace ove::bindings
