// From the planes of decoded pictures to normalised patch rows, without an R'G'B' picture in between.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "common/geometry.h"
#include "common/yuv.h"
#include "tokens/patch_formula.h"
#include "tokens/taps.h"

namespace ove::tokens {

// Every canvas sample is interpolated bilinearly in each plane (half-pixel centres, two taps an axis, borders repeated,
// chroma at its own site), converted with the picture's matrix and range, clamped to [0, 1] and normalised. What the
// resized picture does not cover is black. May be used from several threads at a time.
class PatchGather {
 public:
  // For pictures of `format` shown turned clockwise by quarter turns. Throws std::invalid_argument where that is not
  // the source size of `geometry`, or the format or normalisation makes no sense.
  PatchGather(const YuvFormat& format, Orientation orientation, const Geometry& geometry,
              const Normalization& normalization);

  const YuvFormat& format() const { return format_; }
  const Geometry& geometry() const { return geometry_; }
  std::size_t patch_length() const { return 3 * static_cast<std::size_t>(geometry_.patch) * geometry_.patch; }

  // Writes one row of patch_length() floats a position: (3, patch, patch), flattened. Throws std::invalid_argument for
  // pictures of another format and for positions off the grid.
  void patches(const YuvPicture& picture, std::span<const PatchPosition> positions, std::span<float> rows) const;
  // Writes the whole canvas: (3, canvas_height, canvas_width), flattened.
  void canvas(const YuvPicture& picture, std::span<float> frame) const;

 private:
  // Part of the canvas, in the axes of the stored picture: those of the canvas, exchanged if turned by 90 or 270
  // degrees.
  struct Rectangle {
    int across = 0, down = 0, width = 0, height = 0;
  };
  struct Scratch;

  template <class Sample>
  void rectangle(const YuvPicture& picture, const Rectangle& r, Scratch& scratch, float* out) const;
  void check(const YuvPicture& picture) const;

  YuvFormat format_;
  Geometry geometry_;
  PatchFormula formula_;
  std::array<std::vector<Tap>, 2> across_, down_;  // of luma and of chroma
};

}  // namespace ove::tokens
