#include "bindings/canvas.h"

#include <stdexcept>

namespace ove::bindings {

namespace {

// Of the square canvas and of a patch, in samples: lengths made of them cannot overflow.
constexpr int kMaxSide = 1 << 13;

Resize resize_named(const std::string& name) {
  if (name == "crop") return Resize::kCrop;
  if (name == "letterbox") return Resize::kLetterbox;
  if (name == "stretch") return Resize::kStretch;
  if (name == "native") return Resize::kNative;
  throw std::invalid_argument("resize must be one of 'crop', 'letterbox', 'stretch', 'native', not '" + name + "'");
}

ColorMatrix matrix_named(const std::string& name) {
  if (name == "rgb") return ColorMatrix::kRgb;
  if (name == "bt709") return ColorMatrix::kBt709;
  if (name == "bt601") return ColorMatrix::kBt601;
  if (name == "fcc") return ColorMatrix::kFcc;
  if (name == "smpte240m") return ColorMatrix::kSmpte240m;
  if (name == "ycgco") return ColorMatrix::kYcgco;
  if (name == "bt2020") return ColorMatrix::kBt2020;
  throw std::invalid_argument("matrix must be 'rgb', 'bt709', 'bt601', 'fcc', 'smpte240m', 'ycgco' or 'bt2020', not '" +
                              name + "'");
}

}  // namespace

CanvasOptions canvas_options(const std::string& resize, int size, int patch, std::array<float, 3> mean,
                             std::array<float, 3> std) {
  if (size <= 0 || size > kMaxSide) throw std::invalid_argument("size must be 1 to " + std::to_string(kMaxSide));
  if (patch <= 0 || patch > kMaxSide) {
    throw std::invalid_argument("patch_size must be 1 to " + std::to_string(kMaxSide));
  }
  return {resize_named(resize), size, patch, {mean, std}};
}

Geometry canvas_geometry(const YuvFormat& format, Orientation orientation, const CanvasOptions& canvas) {
  const DisplayWindow window{0, 0, format.width, format.height, orientation};
  return make_geometry(window.display_width(), window.display_height(), canvas.resize, canvas.size, canvas.patch);
}

YuvFormat yuv_format(int width, int height, int components, int bit_depth, const std::string& matrix, bool full_range,
                     std::array<int, 2> chroma_shift, std::array<float, 2> chroma_site) {
  YuvFormat format;
  format.width = width;
  format.height = height;
  format.bit_depth = bit_depth;
  format.components = components;
  format.chroma_shift_x = chroma_shift[0];
  format.chroma_shift_y = chroma_shift[1];
  format.chroma_site_x = chroma_site[0];
  format.chroma_site_y = chroma_site[1];
  format.matrix = matrix_named(matrix);
  format.full_range = full_range;
  return format;
}

std::vector<tokens::PatchPosition> places_of(const Array<std::int32_t>& positions) {
  if (positions.ndim() != 2 || positions.shape(1) != 2) throw std::invalid_argument("positions must be (N, 2)");
  std::vector<tokens::PatchPosition> places(static_cast<std::size_t>(positions.shape(0)));
  for (std::size_t i = 0; i < places.size(); ++i) places[i] = {positions.data()[2 * i], positions.data()[2 * i + 1]};
  return places;
}

}  // namespace ove::bindings
