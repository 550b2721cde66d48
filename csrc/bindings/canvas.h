// Arguments that say how pictures come onto the canvas and what their samples mean, as Python gives them.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "bindings/bindings.h"
#include "common/geometry.h"
#include "common/yuv.h"
#include "tokens/patch_formula.h"
#include "tokens/patch_gather.h"

namespace ove::bindings {

struct CanvasOptions {
  Resize resize;
  int size, patch;
  tokens::Normalization normalization;
};

// Throws std::invalid_argument for lengths and names that are not allowed.
CanvasOptions canvas_options(const std::string& resize, int size, int patch, std::array<float, 3> mean,
                             std::array<float, 3> std);
// How pictures of `format` come onto the canvas.
Geometry canvas_geometry(const YuvFormat& format, Orientation orientation, const CanvasOptions& canvas);

// `components`: 1 for luma alone, else 3. Throws std::invalid_argument for a matrix of another name.
YuvFormat yuv_format(int width, int height, int components, int bit_depth, const std::string& matrix, bool full_range,
                     std::array<int, 2> chroma_shift, std::array<float, 2> chroma_site);

// Patch rows and columns (N, 2).
std::vector<tokens::PatchPosition> places_of(const Array<std::int32_t>& positions);

}  // namespace ove::bindings
