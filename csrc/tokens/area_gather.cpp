#include "tokens/area_gather.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

#include "common/geometry.h"
#include "common/simd.h"

namespace ove::tokens {

namespace {

Geometry stretched(const YuvFormat& format, int quarter_turns, int height, int width) {
  const DisplayWindow window{0, 0, format.width, format.height, quarter_turns};
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

OVE_VECTOR_CLONES
void weigh_bytes(const std::uint8_t* row, float weight, bool first, int count, float* sums) {
  weigh(row, weight, first, count, sums);
}

OVE_VECTOR_CLONES
void weigh_words(const std::uint16_t* row, float weight, bool first, int count, float* sums) {
  weigh(row, weight, first, count, sums);
}

// Interleaved 8-bit samples of a line, `step` bytes apart.
OVE_VECTOR_CLONES
void convert(const ColorConversion& color, const float* y, const float* cb, const float* cr, int count,
             std::ptrdiff_t step, std::uint8_t* out) {
  for (int k = 0; k < 3; ++k) {
    const auto& w = color.weight[static_cast<std::size_t>(k)];
    const float offset = color.offset[static_cast<std::size_t>(k)];
    for (int i = 0; i < count; ++i) {
      const float value = std::clamp(converted(w, offset, y[i], cb[i], cr[i]), 0.0F, 1.0F);
      out[step * i + k] = static_cast<std::uint8_t>(static_cast<int>(value * 255.0F + 0.5F));
    }
  }
}

}  // namespace

AreaAxis::AreaAxis(const CanvasAxis& canvas, const PictureAxis& picture, int samples, int shift, float site) {
  const double step = 1 << shift;
  const double scale = static_cast<double>(picture.length) / canvas.resized;
  const double half = std::max(scale / step, 1.0) / 2;
  std::vector<double> shares;
  for (int i = 0; i < canvas.length; ++i) {
    double middle = (i - canvas.offset + 0.5) * scale;
    if (picture.reversed) middle = picture.length - middle;
    // In samples of the plane, of which sample j reaches from j to j + 1.
    middle = (middle - 0.5 - site * (step - 1)) / step + 0.5;
    const double from = middle - half, to = middle + half;
    const int low = std::clamp(static_cast<int>(std::floor(from)), 0, samples - 1);
    const int high = std::clamp(static_cast<int>(std::ceil(to)) - 1, low, samples - 1);
    shares.clear();
    for (int j = low; j <= high; ++j) {
      // The samples at the borders stand for all beyond them.
      const double left = j == low ? from : j, right = j == high ? to : j + 1;
      shares.push_back(std::max(0.0, right - left) / (to - from));
    }
    first.push_back(low);
    weights.insert(weights.end(), shares.begin(), shares.end());
    begin.push_back(weights.size());
  }
}

struct AreaGather::Scratch {
  Scratch(int plane_width, int line_width)
      : column(static_cast<std::size_t>(plane_width)), values(3 * static_cast<std::size_t>(line_width)) {}
  std::vector<float> column, values;
};

AreaGather::AreaGather(const YuvFormat& format, int quarter_turns, int height, int width)
    : format_(format), height_(height), width_(width) {
  if (height <= 0 || width <= 0) throw std::invalid_argument("frames must have samples");
  formula_ = make_patch_formula(format, quarter_turns, stretched(format, quarter_turns, height, width), {});
  const auto axes = [](const StoredAxis& a) {
    return std::array{AreaAxis(a.canvas, a.picture, a.picture.length, 0, 0),
                      AreaAxis(a.canvas, a.picture, a.chroma_samples, a.chroma_shift, a.chroma_site)};
  };
  across_ = axes(formula_.across);
  down_ = axes(formula_.down);
}

// The samples across..across+width of line `down` of one component.
void AreaGather::line(const YuvPicture& picture, int component, int down, int across, int width, Scratch& scratch,
                      float* out) const {
  const AreaAxis &columns = across_[component > 0], &rows = down_[component > 0];
  const auto end_of = [&](int i) { return columns.first[static_cast<std::size_t>(i)] + std::ssize(columns.of(i)); };
  const int last = across + width - 1;
  const int begin =
      std::min(columns.first[static_cast<std::size_t>(across)], columns.first[static_cast<std::size_t>(last)]);
  const int count = static_cast<int>(std::max(end_of(across), end_of(last))) - begin;
  float* const sums = scratch.column.data();
  const std::span<const float> weights = rows.of(down);
  const std::uint8_t* row =
      picture.planes[static_cast<std::size_t>(component)] +
      picture.strides[static_cast<std::size_t>(component)] * rows.first[static_cast<std::size_t>(down)];
  for (std::size_t j = 0; j < weights.size(); ++j) {
    if (format_.bit_depth > 8) {
      weigh_words(reinterpret_cast<const std::uint16_t*>(row) + begin, weights[j], j == 0, count, sums);
    } else {
      weigh_bytes(row + begin, weights[j], j == 0, count, sums);
    }
    row += picture.strides[static_cast<std::size_t>(component)];
  }
  for (int i = 0; i < width; ++i) {
    const float* const from = sums + columns.first[static_cast<std::size_t>(across + i)] - begin;
    const std::span<const float> shares = columns.of(across + i);
    float sum = 0;
    for (std::size_t j = 0; j < shares.size(); ++j) sum += shares[j] * from[j];
    out[i] = sum;
  }
}

void AreaGather::rectangle(const YuvPicture& picture, const FrameRectangle& r, std::uint8_t* out,
                           std::ptrdiff_t row_bytes) const {
  if (picture.on_gpu) throw std::invalid_argument("the picture lies on a GPU");
  if (picture.format != format_) throw std::invalid_argument("the picture has another format than the gather");
  if (r.x < 0 || r.y < 0 || r.width < 0 || r.height < 0 || r.x > width_ - r.width || r.y > height_ - r.height) {
    throw std::invalid_argument("the rectangle lies off a frame of " + std::to_string(width_) + "x" +
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
  Scratch scratch(format_.width, width);
  float* const y = scratch.values.data();
  float* const cb = y + width;
  float* const cr = cb + width;
  for (int j = 0; j < height; ++j) {
    line(picture, 0, down + j, across, width, scratch, y);
    if (format_.components == 3) {
      line(picture, 1, down + j, across, width, scratch, cb);
      line(picture, 2, down + j, across, width, scratch, cr);
    }
    convert(formula_.color, y, cb, cr, width, step_across, out + step_down * j);
  }
}

}  // namespace ove::tokens
