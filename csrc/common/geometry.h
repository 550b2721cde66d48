// How a picture comes onto the patch grid. Selection and pixels share this, so that a patch is the same place in both.
#pragma once

#include <cstdint>

namespace ove {

enum class Resize : std::uint8_t { kCrop, kLetterbox, kStretch, kNative };

// How the coded picture is put up for display: left and right are exchanged where `mirrored`, then the picture is
// turned clockwise.
struct Orientation {
  int quarter_turns = 0;  // 0 to 3
  bool mirrored = false;

  // Display rows run along the columns of the coded picture.
  bool swaps_axes() const { return quarter_turns % 2 != 0; }
  // Display coordinates descend while coded columns (rows) ascend.
  bool reverses_columns() const { return (quarter_turns >= 2) != mirrored; }
  bool reverses_rows() const { return quarter_turns == 1 || quarter_turns == 2; }
};

// The part of the coded picture that is shown, in luma samples, and how it is put up.
struct DisplayWindow {
  int x = 0, y = 0, width = 0, height = 0;
  Orientation orientation;

  int display_width() const { return orientation.swaps_axes() ? height : width; }
  int display_height() const { return orientation.swaps_axes() ? width : height; }
};

// The display picture is scaled to resized_width x resized_height (half-pixel centres, borders repeated) and laid on
// the canvas with its top left corner at (offset_x, offset_y): negative where cropped, positive where padded. Canvas
// sample x shows source coordinate (x - offset_x + 0.5) * source_width / resized_width - 0.5.
struct Geometry {
  int source_width = 0, source_height = 0;
  int resized_width = 0, resized_height = 0;
  int offset_x = 0, offset_y = 0;
  int patch = 0, rows = 0, columns = 0;

  int canvas_width() const { return columns * patch; }
  int canvas_height() const { return rows * patch; }
  // Whether the patch lies wholly inside the resized picture.
  bool covers(int row, int column) const {
    return row * patch >= offset_y && (row + 1) * patch <= offset_y + resized_height && column * patch >= offset_x &&
           (column + 1) * patch <= offset_x + resized_width;
  }
};

// `size` is the side of the square canvas (ignored by kNative, which keeps the source size and drops the samples right
// and below of the last whole patch). kCrop scales the shorter side to `size` and cuts the centre out; kLetterbox
// scales the longer side and pads; kStretch scales both. Sizes round half to even. Throws std::invalid_argument where
// no whole patch fits.
Geometry make_geometry(int source_width, int source_height, Resize resize, int size, int patch);

// On a canvas of these sides, over which the picture is stretched. Throws as make_geometry() does.
Geometry make_stretched_geometry(int source_width, int source_height, int canvas_width, int canvas_height, int patch);

}  // namespace ove
