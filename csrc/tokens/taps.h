// Where the samples of the canvas lie in the planes of the stored picture.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "common/host_device.h"

namespace ove::tokens {

// Bilinear: between the samples `first` and `first + 1`, which both exist unless the plane is one sample long.
struct Tap {
  int first = 0;
  float fraction = 0;
};

OVE_HOST_DEVICE inline float interpolated(float first, float second, float fraction) {
  return first + fraction * (second - first);
}

// One axis of the canvas: length, offset and resized length as in ove::Geometry.
struct CanvasAxis {
  int length = 0, offset = 0, resized = 0;
};

// The axis of the picture that is shown along it: `length` luma samples, seen backwards if `reversed`.
struct PictureAxis {
  int length = 0;
  bool reversed = false;
};

// Position in stored luma samples of what canvas sample i shows, borders repeated.
OVE_HOST_DEVICE inline double luma_position(int i, const CanvasAxis& canvas, const PictureAxis& picture) {
  const double scale = static_cast<double>(picture.length) / canvas.resized;
  const double last = picture.length - 1;
  const double position = std::clamp((i - canvas.offset + 0.5) * scale - 0.5, 0.0, last);
  return picture.reversed ? last - position : position;
}

// Tap of canvas sample i in a plane of `samples` samples, one to 2^shift luma samples, sitting at `site` among them
// (ove::YuvFormat). Outside of the resized picture it means nothing.
OVE_HOST_DEVICE inline Tap make_tap(int i, const CanvasAxis& canvas, const PictureAxis& picture, int samples, int shift,
                                    float site) {
  const int step = 1 << shift;
  const double luma = luma_position(i, canvas, picture);
  const double position = std::clamp((luma - site * (step - 1.0)) / step, 0.0, samples - 1.0);
  const int first = std::clamp(static_cast<int>(std::floor(position)), 0, std::max(0, samples - 2));
  return {first, static_cast<float>(position - first)};
}

// Taps of every canvas sample.
inline std::vector<Tap> make_taps(const CanvasAxis& canvas, const PictureAxis& picture, int samples, int shift,
                                  float site) {
  std::vector<Tap> taps(static_cast<std::size_t>(canvas.length));
  for (int i = 0; i < canvas.length; ++i) {
    taps[static_cast<std::size_t>(i)] = make_tap(i, canvas, picture, samples, shift, site);
  }
  return taps;
}

}  // namespace ove::tokens
