#include "tokens/patch_formula.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

namespace ove::tokens {

namespace {

std::string size_text(int width, int height) { return std::to_string(width) + "x" + std::to_string(height); }

void check_format(const YuvFormat& f) {
  const bool valid = f.width > 0 && f.height > 0 && f.bit_depth >= 1 && f.bit_depth <= 16 &&
                     (f.components == 1 || f.components == 3) && f.chroma_shift_x >= 0 && f.chroma_shift_x <= 3 &&
                     f.chroma_shift_y >= 0 && f.chroma_shift_y <= 3;
  if (!valid) throw std::invalid_argument("the picture's format is not one of planes of 1 to 16 bits");
}

}  // namespace

PatchFormula make_patch_formula(const YuvFormat& format, Orientation orientation, const Geometry& geometry,
                                const Normalization& normalization) {
  check_format(format);
  if (orientation.quarter_turns < 0 || orientation.quarter_turns > 3) {
    throw std::invalid_argument("quarter_turns must be 0, 1, 2 or 3");
  }
  const DisplayWindow window{0, 0, format.width, format.height, orientation};
  if (window.display_width() != geometry.source_width || window.display_height() != geometry.source_height) {
    throw std::invalid_argument(
        "the picture is displayed as " + size_text(window.display_width(), window.display_height()) +
        ", but the geometry is for " + size_text(geometry.source_width, geometry.source_height));
  }
  PatchFormula f;
  f.turned = orientation.swaps_axes();
  CanvasAxis across{geometry.canvas_width(), geometry.offset_x, geometry.resized_width};
  CanvasAxis down{geometry.canvas_height(), geometry.offset_y, geometry.resized_height};
  if (f.turned) std::swap(across, down);
  f.across = {across,
              {format.width, orientation.reverses_columns()},
              format.chroma_width(),
              format.chroma_shift_x,
              format.chroma_site_x};
  f.down = {down,
            {format.height, orientation.reverses_rows()},
            format.chroma_height(),
            format.chroma_shift_y,
            format.chroma_site_y};
  f.components = format.components;
  f.patch = geometry.patch;
  f.rows = geometry.rows;
  f.columns = geometry.columns;
  f.color = color_conversion(format);
  for (std::size_t k = 0; k < 3; ++k) {
    if (!(normalization.std[k] > 0) || !std::isfinite(normalization.mean[k])) {
      throw std::invalid_argument("mean must be finite and std positive");
    }
    f.scale[k] = 1 / normalization.std[k];
    f.black[k] = -normalization.mean[k] / normalization.std[k];
  }
  return f;
}

void check_position(const PatchFormula& f, const PatchPosition& at) {
  if (at.row < 0 || at.row >= f.rows || at.column < 0 || at.column >= f.columns) {
    throw std::invalid_argument("position (" + std::to_string(at.row) + ", " + std::to_string(at.column) +
                                ") is not on the grid of " + std::to_string(f.rows) + " rows and " +
                                std::to_string(f.columns) + " columns");
  }
}

std::array<RowRange, 2> touched_rows(const PatchFormula& f, std::span<const PatchPosition> positions) {
  std::array<RowRange, 2> touched{};
  const auto include = [](RowRange& range, const Tap& tap, int samples) {
    const int begin = tap.first, end = std::min(tap.first + 2, samples);
    range = range.begin == range.end ? RowRange{begin, end}
                                     : RowRange{std::min(range.begin, begin), std::max(range.end, end)};
  };
  for (const PatchPosition& at : positions) {
    check_position(f, at);
    const int first = f.patch * (f.turned ? at.column : at.row);
    // Taps ascend or descend along the canvas: those at the ends bound the others.
    for (const int line : {first, first + f.patch - 1}) {
      const AxisTaps taps = make_axis_taps(f.down, line);
      include(touched[0], taps.luma, f.down.picture.length);
      include(touched[1], taps.chroma, f.down.chroma_samples);
    }
  }
  return touched;
}

}  // namespace ove::tokens
