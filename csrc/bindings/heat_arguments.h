// Arguments of scoring as Python gives them: parameters, windows, and the arrays of pictures.
#pragma once

#include <pybind11/pybind11.h>

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "codec/picture.h"
#include "common/geometry.h"
#include "pipeline/picture_arrays.h"
#include "saliency/params.h"
#include "saliency/picture.h"
#include "saliency/ranking.h"

namespace ove::bindings {

// All throw std::invalid_argument, naming the parameter and what it may be.
saliency::HeatParams heat_params(const pybind11::dict& params);
saliency::RankingParams ranking_params(const pybind11::dict& params);
// A tuple as size is the height and width of a canvas over which pictures are stretched.
Geometry geometry_of(const pybind11::dict& params, const DisplayWindow& window);
// `rotation` in clockwise degrees.
DisplayWindow window_of(const std::array<int, 4>& window, int rotation, bool mirrored);

// A picture to be scored: a _core.Picture, or an object with the same attributes and `intra`, where arrays that are not
// known are None. On a GPU, arrays are contiguous tensors of a whole clip, one entry a picture, whose memory is never
// read here.
class GivenPicture {
 public:
  // Throws std::invalid_argument for a picture of headers alone, and for arrays that do not fit its size.
  explicit GivenPicture(const pybind11::object& picture, bool on_gpu = false);

  // `arrays` holds what has to be made of a decoded picture.
  saliency::PictureView view(pipeline::PictureArrays& arrays, const saliency::HeatParams& params, bool takes_packed,
                             bool by_block = false) const {
    return decoded_ ? arrays.view(*decoded_, params, takes_packed, by_block) : view_;
  }
  // Of a clip on a GPU, the picture with this number. Throws std::out_of_range.
  saliency::PictureView entry(std::int64_t number) const;

 private:
  std::shared_ptr<const codec::CodecPicture> decoded_;
  saliency::PictureView view_;
  std::int64_t entries_ = 1;            // of each array
  std::vector<pybind11::object> kept_;  // what the view reads
};

}  // namespace ove::bindings
