// From the planes of decoded pictures to 8-bit R'G'B' frames of another size, or parts of them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "common/yuv.h"
#include "tokens/patch_formula.h"

namespace ove::tokens {

// What the samples along one axis of a frame are made of in one plane: sample i of weights[begin[i]] to
// weights[begin[i + 1]], which belong to the plane's samples from first[i] on. Weights of a sample add up to 1.
struct AreaAxis {
  AreaAxis() = default;
  // A frame sample is the mean of what it covers of the plane. Where it covers less than one plane sample, it is
  // interpolated between two. Borders are repeated. `samples`, `shift` and `site` are as for make_tap().
  AreaAxis(const CanvasAxis& canvas, const PictureAxis& picture, int samples, int shift, float site);

  std::span<const float> of(int i) const {
    const auto at = static_cast<std::size_t>(i);
    return std::span(weights).subspan(begin[at], begin[at + 1] - begin[at]);
  }

  std::vector<int> first;
  std::vector<std::size_t> begin{0};
  std::vector<float> weights;
};

struct FrameRectangle {
  int x = 0, y = 0, width = 0, height = 0;
};

// The display picture is stretched over the whole frame. Colour matrix and range are the picture's. May be used from
// several threads at a time.
class AreaGather {
 public:
  // For pictures of `format` shown turned clockwise by quarter turns. Throws std::invalid_argument for formats that
  // make no sense.
  AreaGather(const YuvFormat& format, int quarter_turns, int height, int width);

  const YuvFormat& format() const { return format_; }

  // Writes the rectangle of the frame: R, G, B by sample, rows `row_bytes` apart. Throws std::invalid_argument for
  // pictures of another format and for rectangles off the frame.
  void rectangle(const YuvPicture& picture, const FrameRectangle& r, std::uint8_t* out, std::ptrdiff_t row_bytes) const;

 private:
  struct Scratch;

  void line(const YuvPicture& picture, int component, int down, int across, int width, Scratch& scratch,
            float* out) const;

  YuvFormat format_;
  PatchFormula formula_;
  int height_, width_;
  std::array<AreaAxis, 2> across_, down_;  // of luma and of chroma
};

}  // namespace ove::tokens
