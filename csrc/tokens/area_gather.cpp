#include "tokens/area_gather.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

#include "common/simd.h"

namespace ove::tokens {

namespace {

Geometry stretched(const YuvFormat& format, Orientation orientation, int height, int width) {
  const DisplayWindow window{0, 0, format.width, format.height, orientation};
  return make_stretched_geometry(window.display_width(), window.display_height(), width, height, 1);
}

// sums[i] (+)= weight * row[i]
template <class Sample>
void weigh(const Sample* row, float weight, bool first, int count, float* sums) {
  if (first) {
    for (int i = 0; i < count; ++i) sums[i] = weight * static_cast<float>(row[i]);
  } else {
    for (int i = 0; i < count; ++i) sums[i] += weight * static_cast<float>(row[i]);
  }
}

// The same of two rows at a time.
template <class Sample>
void weigh_two(const Sample* row, const Sample* next, const float* weights, int count, float* sums) {
  const float first = weights[0], second = weights[1];
  for (int i = 0; i < count; ++i) {
    sums[i] = first * static_cast<float>(row[i]) + second * static_cast<float>(next[i]);
  }
}

OVE_VECTOR_CLONES
void weigh_bytes(const std::uint8_t* row, float weight, bool first, int count, float* sums) {
  weigh(row, weight, first, count, sums);
}

OVE_VECTOR_CLONES
void weigh_words(const std::uint16_t* row, float weight, bool first, int count, float* sums) {
  weigh(row, weight, first, count, sums);
}

OVE_VECTOR_CLONES
void weigh_two_bytes(const std::uint8_t* row, const std::uint8_t* next, const float* weights, int count, float* sums) {
  weigh_two(row, next, weights, count, sums);
}

OVE_VECTOR_CLONES
void weigh_two_words(const std::uint16_t* row, const std::uint16_t* next, const float* weights, int count,
                     float* sums) {
  weigh_two(row, next, weights, count, sums);
}

// Lines are computed in whole vectors, whatever lies behind their end.
constexpr int kVector = 8;
int padded(int count) { return (count + kVector - 1) / kVector * kVector; }

// R, G and B of a line as 8-bit samples, one line behind the other, as those of y, cb and cr are; `count` is padded.
OVE_VECTOR_CLONES
void convert(const ColorConversion& color, const float* y, int count, std::uint8_t* out) {
  const float *const cb = y + count, *const cr = cb + count;
  for (std::size_t k = 0; k < 3; ++k, out += count) {
    const std::array<float, 3> weight = color.weight[k];
    const float offset = color.offset[k];
    for (int i = 0; i < count; ++i) {
      // Clamped as an integer, which takes no branch.
      const int value = static_cast<int>(converted(weight, offset, y[i], cb[i], cr[i]) * 255.0F + 0.5F);
      out[i] = static_cast<std::uint8_t>(std::min(std::max(value, 0), 255));
    }
  }
}

// Sample i of a line is the sum of its shares of `row`, whose sample 0 is the plane's sample `begin`.
template <int kTaps>
void gather_line(const AreaAxis& axis, int at, int count, const float* row, int begin, float* out) {
  const int taps = kTaps ? kTaps : axis.taps;
  const float* share = axis.of(at);
  const int* const first = axis.first.data() + at;
  for (int i = 0; i < count; ++i, share += taps) {
    const float* const from = row + (first[i] - begin);
    float sum = share[0] * from[0];
    for (int j = 1; j < taps; ++j) sum += share[j] * from[j];
    out[i] = sum;
  }
}

}  // namespace

AreaAxis::AreaAxis(const CanvasAxis& canvas, const PictureAxis& picture, int samples, int shift, float site) {
  const double step = 1 << shift;
  const double scale = static_cast<double>(picture.length) / canvas.resized;
  const double half = std::max(scale / step, 1.0) / 2;
  std::vector<std::vector<double>> shares;
  for (int i = 0; i < canvas.length; ++i) {
    double middle = (i - canvas.offset + 0.5) * scale;
    if (picture.reversed) middle = picture.length - middle;
    // In samples of the plane, of which sample j reaches from j to j + 1.
    middle = (middle - 0.5 - site * (step - 1)) / step + 0.5;
    const double from = middle - half, to = middle + half;
    const int low = std::clamp(static_cast<int>(std::floor(from)), 0, samples - 1);
    const int high = std::clamp(static_cast<int>(std::ceil(to)) - 1, low, samples - 1);
    first.push_back(low);
    shares.emplace_back();
    for (int j = low; j <= high; ++j) {
      // The samples at the borders stand for all beyond them.
      const double left = j == low ? from : j, right = j == high ? to : j + 1;
      shares.back().push_back(std::max(0.0, right - left) / (to - from));
    }
    taps = std::max(taps, high - low + 1);
  }
  weights.resize(shares.size() * static_cast<std::size_t>(taps));
  for (std::size_t i = 0; i < shares.size(); ++i) {
    const int begin = std::min(first[i], samples - taps);  // so that all taps lie in the plane
    std::copy(shares[i].begin(), shares[i].end(),
              weights.begin() + static_cast<std::ptrdiff_t>(i) * taps + (first[i] - begin));
    first[i] = begin;
  }
}

struct AreaGather::Scratch {
  // Of so many samples of a plane, and of a line; `line_width` is padded.
  Scratch(int plane_width, int line_width)
      : column(static_cast<std::size_t>(plane_width)),
        values(3 * static_cast<std::size_t>(line_width)),
        bytes(3 * static_cast<std::size_t>(line_width)) {}
  std::vector<float> column, values;
  std::vector<std::uint8_t> bytes;
};

AreaGather::AreaGather(const YuvFormat& format, Orientation orientation, int height, int width)
    : format_(format), height_(height), width_(width) {
  if (height <= 0 || width <= 0) throw std::invalid_argument("frames must have samples");
  formula_ = make_patch_formula(format, orientation, stretched(format, orientation, height, width), {});
  const auto axes = [](const StoredAxis& a) {
    return std::array{AreaAxis(a.canvas, a.picture, a.picture.length, 0, 0),
                      AreaAxis(a.canvas, a.picture, a.chroma_samples, a.chroma_shift, a.chroma_site)};
  };
  across_ = axes(formula_.across);
  down_ = axes(formula_.down);
}

AreaGather::Columns AreaGather::columns(int component, int across, int width) const {
  const AreaAxis& axis = across_[component > 0];
  const int left = axis.first[static_cast<std::size_t>(across)];
  const int right = axis.first[static_cast<std::size_t>(across + width - 1)];
  const int begin = std::min(left, right);
  return {begin, std::max(left, right) + axis.taps - begin};
}

// The samples across..across+width of line `down` of one component.
void AreaGather::line(const YuvPicture& picture, int component, int down, int across, int width, Scratch& scratch,
                      float* out) const {
  const auto plane = static_cast<std::size_t>(component);
  const AreaAxis &axis = across_[component > 0], &rows = down_[component > 0];
  const auto [begin, count] = columns(component, across, width);
  float* const sums = scratch.column.data();
  const float* const weights = rows.of(down);
  const std::uint8_t* row = picture.planes[plane] + picture.strides[plane] * rows.first[static_cast<std::size_t>(down)];
  const auto words = [](const std::uint8_t* bytes) { return reinterpret_cast<const std::uint16_t*>(bytes); };
  if (rows.taps == 2 && weights[1] != 0) {
    const std::uint8_t* const next = row + picture.strides[plane];
    if (format_.bit_depth > 8) {
      weigh_two_words(words(row) + begin, words(next) + begin, weights, count, sums);
    } else {
      weigh_two_bytes(row + begin, next + begin, weights, count, sums);
    }
  } else {
    for (int j = 0; j < rows.taps; ++j, row += picture.strides[plane]) {
      if (weights[j] == 0 && j > 0) continue;
      if (format_.bit_depth > 8) {
        weigh_words(words(row) + begin, weights[j], j == 0, count, sums);
      } else {
        weigh_bytes(row + begin, weights[j], j == 0, count, sums);
      }
    }
  }
  if (axis.taps == 2) {
    gather_line<2>(axis, across, width, sums, begin, out);
  } else {
    gather_line<0>(axis, across, width, sums, begin, out);
  }
}

void AreaGather::rectangle(const YuvPicture& picture, const FrameRectangle& r, std::uint8_t* out,
                           std::ptrdiff_t row_bytes) const {
  if (picture.on_gpu) throw std::invalid_argument("the picture is on a GPU");
  if (picture.format != format_) throw std::invalid_argument("the picture has another format than the gather");
  if (r.x < 0 || r.y < 0 || r.width < 0 || r.height < 0 || r.x > width_ - r.width || r.y > height_ - r.height) {
    throw std::invalid_argument("the rectangle is outside a frame of " + std::to_string(width_) + "x" +
                                std::to_string(height_));
  }
  if (r.width == 0 || r.height == 0) return;
  // In the axes of the stored picture.
  int across = r.x, down = r.y, width = r.width, height = r.height;
  std::ptrdiff_t step_across = 3, step_down = row_bytes;
  if (formula_.turned) {
    std::swap(across, down);
    std::swap(width, height);
    std::swap(step_across, step_down);
  }
  const int pitch = padded(width);
  const int chroma = format_.components == 3 ? columns(1, across, width).count : 0;
  Scratch scratch(std::max(columns(0, across, width).count, chroma), pitch);
  float* const y = scratch.values.data();
  for (int j = 0; j < height; ++j) {
    line(picture, 0, down + j, across, width, scratch, y);
    if (format_.components == 3) {
      line(picture, 1, down + j, across, width, scratch, y + pitch);
      line(picture, 2, down + j, across, width, scratch, y + 2 * pitch);
    }
    std::uint8_t* const rgb = scratch.bytes.data();
    convert(formula_.color, y, pitch, rgb);
    std::uint8_t* to = out + step_down * j;
    for (int i = 0; i < width; ++i, to += step_across) {
      to[0] = rgb[i];
      to[1] = rgb[pitch + i];
      to[2] = rgb[2 * pitch + i];
    }
  }
}

}  // namespace ove::tokens
