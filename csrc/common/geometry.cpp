#include "common/geometry.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace ove {

namespace {

// Python's and NumPy's round(): half to even, in the default floating-point environment.
int scaled(int length, int size, int reference) {
  return std::max(1, static_cast<int>(std::nearbyint(length * (static_cast<double>(size) / reference))));
}

// Half towards zero: crops of an odd excess start at the floor of half of it.
int half(int difference) { return difference >= 0 ? difference / 2 : -((-difference) / 2); }

Geometry checked(int source_width, int source_height, int patch) {
  if (source_width <= 0 || source_height <= 0) throw std::invalid_argument("the picture has no samples");
  if (patch <= 0) throw std::invalid_argument("patch_size must be positive, not " + std::to_string(patch));
  Geometry g;
  g.source_width = source_width;
  g.source_height = source_height;
  g.patch = patch;
  return g;
}

void lay_patches(Geometry& g, int canvas_width, int canvas_height) {
  g.rows = canvas_height / g.patch;
  g.columns = canvas_width / g.patch;
  if (g.rows <= 0 || g.columns <= 0) {
    throw std::invalid_argument("no patch of " + std::to_string(g.patch) + " samples fits on a canvas of " +
                                std::to_string(canvas_width) + "x" + std::to_string(canvas_height));
  }
}

}  // namespace

Geometry make_stretched_geometry(int source_width, int source_height, int canvas_width, int canvas_height, int patch) {
  Geometry g = checked(source_width, source_height, patch);
  g.resized_width = canvas_width;
  g.resized_height = canvas_height;
  lay_patches(g, canvas_width, canvas_height);
  return g;
}

Geometry make_geometry(int source_width, int source_height, Resize resize, int size, int patch) {
  Geometry g = checked(source_width, source_height, patch);
  int canvas_width = size, canvas_height = size;
  switch (resize) {
    case Resize::kCrop:
    case Resize::kLetterbox: {
      const int reference =
          resize == Resize::kCrop ? std::min(source_width, source_height) : std::max(source_width, source_height);
      g.resized_width = scaled(source_width, size, reference);
      g.resized_height = scaled(source_height, size, reference);
      break;
    }
    case Resize::kStretch:
      g.resized_width = g.resized_height = size;
      break;
    case Resize::kNative:
      g.resized_width = canvas_width = source_width;
      g.resized_height = canvas_height = source_height;
      break;
  }
  lay_patches(g, canvas_width, canvas_height);
  if (resize != Resize::kNative) {
    g.offset_x = half(size - g.resized_width);
    g.offset_y = half(size - g.resized_height);
  }
  return g;
}

}  // namespace ove
