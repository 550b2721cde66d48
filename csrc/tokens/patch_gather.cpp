#include "tokens/patch_gather.h"

#include <stdexcept>
#include <string>

namespace ove::tokens {

namespace {

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
    column[x - begin] = interpolated(static_cast<float>(upper[x]), static_cast<float>(lower[x]), fraction);
  }
  column[end - begin] = column[end - begin - 1];  // the right neighbour in a plane one sample wide
  for (std::size_t i = 0; i < taps.size(); ++i) {
    const float* c = column + (taps[i].first - begin);
    values[i] = interpolated(c[0], c[1], taps[i].fraction);
  }
}

std::array<std::vector<Tap>, 2> taps_of(const StoredAxis& a) {
  return {make_taps(a.canvas, a.picture, a.picture.length, 0, 0),
          make_taps(a.canvas, a.picture, a.chroma_samples, a.chroma_shift, a.chroma_site)};
}

}  // namespace

struct PatchGather::Scratch {
  Scratch(int plane_width, int line_width)
      : column(static_cast<std::size_t>(plane_width) + 1), line(3 * static_cast<std::size_t>(line_width)) {}
  std::vector<float> column, line;
};

PatchGather::PatchGather(const YuvFormat& format, Orientation orientation, const Geometry& geometry,
                         const Normalization& normalization)
    : format_(format),
      geometry_(geometry),
      formula_(make_patch_formula(format, orientation, geometry, normalization)),
      across_(taps_of(formula_.across)),
      down_(taps_of(formula_.down)) {}

void PatchGather::check(const YuvPicture& picture) const {
  if (picture.on_gpu) throw std::invalid_argument("the picture is on a GPU");
  if (picture.format != format_) throw std::invalid_argument("the picture has another format than the gather");
}

template <class Sample>
void PatchGather::rectangle(const YuvPicture& picture, const Rectangle& r, Scratch& scratch, float* out) const {
  const std::ptrdiff_t plane = static_cast<std::ptrdiff_t>(r.width) * r.height;
  // From sample to sample along the stored rows, and from stored row to stored row, in `out`.
  const std::ptrdiff_t step_across = formula_.turned ? r.height : 1, step_down = formula_.turned ? 1 : r.width;
  // The part of the stored rows that the resized picture covers.
  const CanvasAxis &across = formula_.across.canvas, &down = formula_.down.canvas;
  const int begin = std::clamp(across.offset, r.across, r.across + r.width);
  const int end = std::clamp(across.offset + across.resized, begin, r.across + r.width);
  const std::size_t n = static_cast<std::size_t>(end - begin);
  float* const y = scratch.line.data();
  float* const cb = y + n;
  float* const cr = cb + n;
  for (int j = 0; j < r.height; ++j) {
    const int line = r.down + j;
    const bool covered = line >= down.offset && line < down.offset + down.resized && n > 0;
    float* const out_line = out + step_down * j;
    for (std::ptrdiff_t k = 0; k < 3 && !(covered && n == static_cast<std::size_t>(r.width)); ++k) {
      for (int i = 0; i < r.width; ++i) out_line[plane * k + step_across * i] = formula_.black[k];
    }
    if (!covered) continue;
    for (int component = 0; component < format_.components; ++component) {
      const int kind = component > 0;
      const int width = kind ? format_.chroma_width() : format_.width;
      const int height = kind ? format_.chroma_height() : format_.height;
      const Tap tap = down_[kind][static_cast<std::size_t>(line)];
      interpolate(row_of<Sample>(picture, component, tap.first),
                  row_of<Sample>(picture, component, std::min(tap.first + 1, height - 1)), tap.fraction,
                  std::span<const Tap>(across_[kind]).subspan(static_cast<std::size_t>(begin), n), width,
                  scratch.column.data(),
                  component == 0   ? y
                  : component == 1 ? cb
                                   : cr);
    }
    if (format_.components == 1) std::fill_n(cb, 2 * n, 0.0F);
    for (std::ptrdiff_t k = 0; k < 3; ++k) {
      const auto& w = formula_.color.weight[k];
      float* const target = out_line + plane * k + step_across * (begin - r.across);
      for (std::size_t i = 0; i < n; ++i) {
        target[step_across * static_cast<std::ptrdiff_t>(i)] = normalized(
            converted(w, formula_.color.offset[k], y[i], cb[i], cr[i]), formula_.scale[k], formula_.black[k]);
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
    check_position(formula_, at);
    Rectangle r{at.column * p, at.row * p, p, p};
    if (formula_.turned) std::swap(r.across, r.down);
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
  if (formula_.turned) std::swap(r.width, r.height);
  Scratch scratch(format_.width, r.width);
  format_.bit_depth > 8 ? rectangle<std::uint16_t>(picture, r, scratch, frame.data())
                        : rectangle<std::uint8_t>(picture, r, scratch, frame.data());
}

}  // namespace ove::tokens
