// Facts of libavcodec's frames in this library's words.
#pragma once

#include <string>

#include "common/yuv.h"
#include "media/ffmpeg.h"

namespace ove::media {

// Brings pictures of packed, palette, alpha and other formats that view() does not take into planes, by libswscale.
class PlanarConverter {
 public:
  // The frame itself where view() takes it; else its samples in planes, which lose as little as can be, valid until the
  // next call. Alpha is left out. Throws UnsupportedStreamError where libswscale does not know the format.
  const AVFrame& planar(const AVFrame& frame, const std::string& name);

 private:
  struct Step {
    ScalerPtr scaler;
    FramePtr converted;

    const AVFrame& convert(const AVFrame& frame, AVPixelFormat target, const std::string& name);
  };

  Step widened_, planar_;
};

// The frame's samples, which stay the frame's. Throws UnsupportedStreamError, beginning with `name`, for layouts other
// than planar Y'CbCr, R'G'B' and luma, and for colour matrices that are no matrices. What the stream leaves open is
// taken as libswscale and the readers built on it take it: BT.601, limited range for Y'CbCr and full range for R'G'B'
// and grey; chroma samples of 4:2:0 and 4:2:2 sit left, as H.265 E.3.1 infers.
YuvPicture view(const AVFrame& frame, const std::string& name);

}  // namespace ove::media
