// The arrays of a decoded picture, as scoring reads them.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "codec/picture.h"
#include "saliency/params.h"
#include "saliency/picture.h"

namespace ove::pipeline {

// One picture at a time.
class PictureArrays {
 public:
  // In the decoder's memory as far as they lie there. What blocks refer to is told by their indices into the lists, or
  // `by_block`, by `pred` and `ref_poc`; a packed residual is spread out unless it is taken as it is. The picture must
  // have arrays.
  saliency::PictureView view(const codec::CodecPicture& picture, const saliency::HeatParams& params, bool takes_packed,
                             bool by_block = false);

 private:
  std::vector<std::uint8_t> pred_;
  std::vector<std::int32_t> ref_poc_;
  std::array<std::vector<std::int32_t>, 2> list_poc_;
  std::vector<std::int16_t> residual_;
  std::vector<saliency::CodedSquare> coded_;
};

}  // namespace ove::pipeline
