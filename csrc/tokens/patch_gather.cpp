#include "tokens/patch_gather.h"

#include <cmath>
#include <stdexcept>
#include <string>

namespace ove::tokens {

namespace {

std::string size_text(int width, int height) { return std::to_string(width) + "x" + std::to_string(height); }

void check_format(const YuvFormat& f) {
  const bool valid = f.width > 0 && f.height > 0 && f.bit_depth >= 1 && f.bit_depth <= 16 &&
                     (f.components == 1 || f.components == 3) && f.chroma_shift_x >= 0 && f.chroma_shift_x <= 3 &&
                     f.chroma_shift_y >= 0 && f.chroma_shift_y <= 3;
  if (!valid) throw std::invalid_argument("the picture's format is not one of planes of 1 to 16 bits");
}

// Row `y` of a plane.
template <class Sample>
const Sample* row_of(const YuvPicture& picture, int component, int y) {
  return reinterpret_cast<const Sample*>(picture.planes[component] + picture.strides[component] * y);
}

// Interpolates down, over the samples that the taps touch, then across.
template <class Sample>
void interpolate(const Sample* upper, const Sample* lower, float fraction, std::span<const Tap> taps, int samples,
                 float* column, float* values) {
  const int begin = std::min(taps.front().first, taps.back().first);
  const int end = std::min(samples, std::max(taps.front().first, taps.back().first) + 2);
  for (int x = begin; x < end; ++x) {
    const float a = static_cast<float>(upper[x]);
    column[x - begin] = a + fraction * (static_cast<float>(lower[x]) - a);
  }
  column[end - begin] = column[end - begin - 1];  // the right neighbour in a plane one sample wide
  for (std::size_t i = 0; i < taps.size(); ++i) {
    const float* c = column + (taps[i].first - begin);
    values[i] = c[0] + taps[i].fraction * (c[1] - c[0]);
  }
}

}  // namespace

struct PatchGather::Scratch {
  Scratch(int plane_width, int line_width)
      : column(static_cast<std::size_t>(plane_width) + 1), line(3 * static_cast<std::size_t>(line_width)) {}
  std::vector<float> column, line;
};

PatchGather::PatchGather(const YuvFormat& format, int quarter_turns, const Geometry& geometry,
                         const Normalization& normalization)
    : format_(format), geometry_(geometry), turned_(quarter_turns % 2 != 0) {
  check_format(format);
  if (quarter_turns < 0 || quarter_turns > 3) throw std::invalid_argument("quarter_turns must be 0, 1, 2 or 3");
  const DisplayWindow window{0, 0, format.width, format.height, quarter_turns};
  if (window.display_width() != geometry.source_width || window.display_height() != geometry.source_height) {
    throw std::invalid_argument("the picture is shown as " +
                                size_text(window.display_width(), window.display_height()) + ", the geometry is for " +
                                size_text(geometry.source_width, geometry.source_height));
  }
  across_axis_ = {geometry.canvas_width(), geometry.offset_x, geometry.resized_width};
  down_axis_ = {geometry.canvas_height(), geometry.offset_y, geometry.resized_height};
  if (turned_) std::swap(across_axis_, down_axis_);
  // Turned clockwise by 90 degrees, the picture's bottom left corner comes to the top left: rows are seen backwards.
  const PictureAxis x{format.width, quarter_turns == 2 || quarter_turns == 3};
  const PictureAxis y{format.height, quarter_turns == 1 || quarter_turns == 2};
  across_[0] = make_taps(across_axis_, x, format.width, 0, 0);
  down_[0] = make_taps(down_axis_, y, format.height, 0, 0);
  across_[1] = make_taps(across_axis_, x, format.chroma_width(), format.chroma_shift_x, format.chroma_site_x);
  down_[1] = make_taps(down_axis_, y, format.chroma_height(), format.chroma_shift_y, format.chroma_site_y);
  color_ = color_conversion(format);
  for (std::size_t k = 0; k < 3; ++k) {
    if (!(normalization.std[k] > 0) || !std::isfinite(normalization.mean[k])) {
      throw std::invalid_argument("mean must be finite and std positive");
    }
    scale_[k] = 1 / normalization.std[k];
    black_[k] = -normalization.mean[k] / normalization.std[k];
  }
}

void PatchGather::check(const YuvPicture& picture) const {
  if (picture.format != format_) throw std::invalid_argument("the picture has another format than the gather");
}

template <class Sample>
void PatchGather::rectangle(const YuvPicture& picture, const Rectangle& r, Scratch& scratch, float* out) const {
  const std::ptrdiff_t plane = static_cast<std::ptrdiff_t>(r.width) * r.height;
  // From sample to sample along the stored rows, and from stored row to stored row, in `out`.
  const std::ptrdiff_t step_across = turned_ ? r.height : 1, step_down = turned_ ? 1 : r.width;
  // The part of the stored rows that the resized picture covers.
  const int begin = std::clamp(across_axis_.offset, r.across, r.across + r.width);
  const int end = std::clamp(across_axis_.offset + across_axis_.resized, begin, r.across + r.width);
  const std::size_t n = static_cast<std::size_t>(end - begin);
  float* const y = scratch.line.data();
  float* const cb = y + n;
  float* const cr = cb + n;
  for (int j = 0; j < r.height; ++j) {
    const int line = r.down + j;
    const bool covered = line >= down_axis_.offset && line < down_axis_.offset + down_axis_.resized && n > 0;
    float* const out_line = out + step_down * j;
    for (std::ptrdiff_t k = 0; k < 3 && !(covered && n == static_cast<std::size_t>(r.width)); ++k) {
      for (int i = 0; i < r.width; ++i) out_line[plane * k + step_across * i] = black_[k];
    }
    if (!covered) continue;
    for (int component = 0; component < format_.components; ++component) {
      const int kind = component > 0;
      const int width = kind ? format_.chroma_width() : format_.width;
      const int height = kind ? format_.chroma_height() : format_.height;
      const Tap down = down_[kind][static_cast<std::size_t>(line)];
      interpolate(row_of<Sample>(picture, component, down.first),
                  row_of<Sample>(picture, component, std::min(down.first + 1, height - 1)), down.fraction,
                  std::span<const Tap>(across_[kind]).subspan(static_cast<std::size_t>(begin), n), width,
                  scratch.column.data(),
                  component == 0   ? y
                  : component == 1 ? cb
                                   : cr);
    }
    if (format_.components == 1) std::fill_n(cb, 2 * n, 0.0F);
    for (std::ptrdiff_t k = 0; k < 3; ++k) {
      const auto& w = color_.weight[k];
      float* const target = out_line + plane * k + step_across * (begin - r.across);
      for (std::size_t i = 0; i < n; ++i) {
        const float value = w[0] * y[i] + w[1] * cb[i] + w[2] * cr[i] + color_.offset[k];
        target[step_across * static_cast<std::ptrdiff_t>(i)] = std::clamp(value, 0.0F, 1.0F) * scale_[k] + black_[k];
      }
    }
  }
}

void PatchGather::patches(const YuvPicture& picture, std::span<const PatchPosition> positions,
                          std::span<float> rows) const {
  check(picture);
  if (rows.size() != positions.size() * patch_length()) throw std::invalid_argument("rows do not fit the positions");
  const int p = geometry_.patch;
  Scratch scratch(format_.width, p);
  float* out = rows.data();
  for (const PatchPosition& at : positions) {
    if (at.row < 0 || at.row >= geometry_.rows || at.column < 0 || at.column >= geometry_.columns) {
      throw std::invalid_argument("position (" + std::to_string(at.row) + ", " + std::to_string(at.column) +
                                  ") is not on the grid of " + std::to_string(geometry_.rows) + " rows and " +
                                  std::to_string(geometry_.columns) + " columns");
    }
    Rectangle r{at.column * p, at.row * p, p, p};
    if (turned_) std::swap(r.across, r.down);
    format_.bit_depth > 8 ? rectangle<std::uint16_t>(picture, r, scratch, out)
                          : rectangle<std::uint8_t>(picture, r, scratch, out);
    out += patch_length();
  }
}

void PatchGather::canvas(const YuvPicture& picture, std::span<float> frame) const {
  check(picture);
  Rectangle r{0, 0, geometry_.canvas_width(), geometry_.canvas_height()};
  if (frame.size() != 3 * static_cast<std::size_t>(r.width) * r.height) {
    throw std::invalid_argument("the frame does not fit the canvas");
  }
  if (turned_) std::swap(r.width, r.height);
  Scratch scratch(format_.width, r.width);
  format_.bit_depth > 8 ? rectangle<std::uint16_t>(picture, r, scratch, frame.data())
                        : rectangle<std::uint8_t>(picture, r, scratch, frame.data());
}

}  // namespace ove::tokens
