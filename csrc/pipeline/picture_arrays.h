// The arrays of a decoded picture, as scoring reads them.
#pragma once

#include <cstdint>
#include <vector>

#include "codec/picture.h"
#include "saliency/params.h"
#include "saliency/picture.h"

namespace ove::pipeline {

// One picture at a time.
class PictureArrays {
 public:
  // In the decoder's memory as far as they lie there. Of the two arrays that say which lists a block uses, `pred` is
  // made of the other where it is asked for; a packed residual is spread out unless it is taken as it is. The picture
  // must have arrays.
  saliency::PictureView view(const codec::CodecPicture& picture, const saliency::HeatParams& params, bool takes_packed,
                             bool with_pred = false);

 private:
  std::vector<std::uint8_t> pred_;
  std::vector<std::int32_t> ref_poc_;
  std::vector<std::int16_t> residual_;
  std::vector<saliency::CodedSquare> coded_;
};

}  // namespace ove::pipeline
