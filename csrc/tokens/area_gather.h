// From the planes of decoded pictures to 8-bit R'G'B' frames of another size, or parts of them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/geometry.h"
#include "common/yuv.h"
#include "tokens/patch_formula.h"

namespace ove::tokens {

// What the samples along one axis of a frame are made of in one plane: sample i of `taps` plane samples from first[i]
// on, in shares of weights[i * taps] and so on, which add up to 1.
struct AreaAxis {
  AreaAxis() = default;
  // A frame sample is the mean of what it covers of the plane. Where it covers less than one plane sample, it is
  // interpolated between two. Borders are repeated. `samples`, `shift` and `site` are as for make_tap().
  AreaAxis(const CanvasAxis& canvas, const PictureAxis& picture, int samples, int shift, float site);

  const float* of(int i) const { return weights.data() + static_cast<std::ptrdiff_t>(i) * taps; }

  int taps = 0;
  std::vector<int> first;
  std::vector<float> weights;
};

struct FrameRectangle {
  int x = 0, y = 0, width = 0, height = 0;
};

// The display picture is stretched over the whole frame. Colour matrix and range are the picture's. May be used from
// several threads at a time.
class AreaGather {
 public:
  // Throws std::invalid_argument where the format or orientation makes no sense.
  AreaGather(const YuvFormat& format, Orientation orientation, int height, int width);

  const YuvFormat& format() const { return format_; }

  // Writes the rectangle of the frame: R, G, B by sample, rows `row_bytes` apart. Throws std::invalid_argument for
  // pictures of another format and for rectangles off the frame.
  void rectangle(const YuvPicture& picture, const FrameRectangle& r, std::uint8_t* out, std::ptrdiff_t row_bytes) const;

 private:
  struct Scratch;
  struct Columns {
    int begin, count;
  };

  // Of a plane: what the samples across..across+width of the frame are made of.
  Columns columns(int component, int across, int width) const;
  void line(const YuvPicture& picture, int component, int down, int across, int width, Scratch& scratch,
            float* out) const;

  YuvFormat format_;
  PatchFormula formula_;
  int height_, width_;
  std::array<AreaAxis, 2> across_, down_;  // of luma and of chroma
};

}  // namespace ove::tokens
