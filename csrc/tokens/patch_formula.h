// What a patch row is made of: one formula for the CPU's gather and for the GPU's.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "common/geometry.h"
#include "common/host_device.h"
#include "common/yuv.h"
#include "tokens/color.h"
#include "tokens/taps.h"

namespace ove::tokens {

// Of R, G and B in [0, 1]. The defaults are those of CLIP.
struct Normalization {
  std::array<float, 3> mean{0.48145466F, 0.4578275F, 0.40821073F};
  std::array<float, 3> std{0.26862954F, 0.26130258F, 0.27577711F};
};

// An axis of the stored picture, and the canvas along it.
struct StoredAxis {
  CanvasAxis canvas;
  PictureAxis picture;
  int chroma_samples = 0, chroma_shift = 0;
  float chroma_site = 0;
};

// All that pictures of one format on one geometry share.
struct PatchFormula {
  StoredAxis across, down;  // along the stored rows, and from row to row
  bool turned = false;      // the axes are swapped for display: `across` is the canvas's height
  int components = 0;
  int patch = 0, rows = 0, columns = 0;
  ColorConversion color;
  std::array<float, 3> scale{}, black{};  // normalised value = rgb * scale + black

  // Of the picture as it is shown.
  int source_width() const { return turned ? down.picture.length : across.picture.length; }
  int source_height() const { return turned ? across.picture.length : down.picture.length; }
};

// For pictures of `format`. Throws std::invalid_argument where the size that they are shown with is not the source size
// of `geometry`, or the format, orientation or normalisation makes no sense.
PatchFormula make_patch_formula(const YuvFormat& format, Orientation orientation, const Geometry& geometry,
                                const Normalization& normalization);

struct PatchPosition {
  std::int32_t row = 0, column = 0;
};

// Throws std::invalid_argument for a position off the grid.
void check_position(const PatchFormula& formula, const PatchPosition& position);

// Rows [begin, end) of the stored planes, of luma and of chroma, that hold all that these patches are made of. Throws
// what check_position does.
struct RowRange {
  int begin = 0, end = 0;
};
std::array<RowRange, 2> touched_rows(const PatchFormula& formula, std::span<const PatchPosition> positions);

// Where one line of canvas samples, along either axis, lies in the planes; nowhere unless `covered`.
struct AxisTaps {
  Tap luma, chroma;
  bool covered = false;
};

OVE_HOST_DEVICE inline AxisTaps make_axis_taps(const StoredAxis& a, int i) {
  return {make_tap(i, a.canvas, a.picture, a.picture.length, 0, 0),
          make_tap(i, a.canvas, a.picture, a.chroma_samples, a.chroma_shift, a.chroma_site),
          i >= a.canvas.offset && i < a.canvas.offset + a.canvas.resized};
}

// A component of all pictures of a clip; distances in bytes.
struct ClipPlane {
  const std::uint8_t* samples = nullptr;
  std::int64_t frame_stride = 0, row_stride = 0, step = 0;  // step: from sample to sample of a row
};

// Decoded pictures of one clip: planar, interleaved or packed, which `step` tells.
struct ClipPlanes {
  PatchFormula formula;
  std::array<ClipPlane, 3> planes;
  std::int64_t frames = 0;
  int sample_bytes = 1;  // 1 or 2
  int low_bits = 0;      // unused bits below the sample's own, as P010 has them
};

// Taps of the patch at a grid position: of `patch` samples along the stored rows, then of as many down. Takes every
// stride-th of them from `first` on, so that threads can share the work.
OVE_HOST_DEVICE inline void make_patch_taps(const PatchFormula& f, int row, int column, int first, int stride,
                                            AxisTaps* taps) {
  const int across = f.patch * (f.turned ? row : column), down = f.patch * (f.turned ? column : row);
  for (int i = first; i < 2 * f.patch; i += stride) {
    taps[i] = i < f.patch ? make_axis_taps(f.across, across + i) : make_axis_taps(f.down, down + i - f.patch);
  }
}

// What makes normalised R, G and B of the components, apart from the rest of a formula: a copy stays in registers.
struct PatchColors {
  ColorConversion color;
  std::array<float, 3> scale, black;

  OVE_HOST_DEVICE explicit PatchColors(const PatchFormula& f) : color(f.color), scale(f.scale), black(f.black) {}

  OVE_HOST_DEVICE std::array<float, 3> rgb(float y, float cb, float cr) const {
    std::array<float, 3> values{};
    for (int k = 0; k < 3; ++k) {
      values[k] = normalized(converted(color.weight[k], color.offset[k], y, cb, cr), scale[k], black[k]);
    }
    return values;
  }
};

// The value between four samples, at the addresses of their rows and the bytes in them: interpolated down, then across.
template <class Sample>
OVE_HOST_DEVICE inline float value_between(const std::uint8_t* upper, const std::uint8_t* lower, std::int64_t left,
                                           std::int64_t right, float across, float down, int low_bits) {
  const auto sample = [low_bits](const std::uint8_t* at) {
    const Sample stored = *reinterpret_cast<const Sample*>(at);
    if constexpr (sizeof(Sample) == 1) return static_cast<float>(stored);  // which has no unused bits
    return static_cast<float>(stored >> low_bits);
  };
  return interpolated(interpolated(sample(upper + left), sample(lower + left), down),
                      interpolated(sample(upper + right), sample(lower + right), down), across);
}

// The row of component k above (below: 1) a line of the patch, from its sample 0; `down` are the taps of its lines.
OVE_HOST_DEVICE inline const std::uint8_t* stored_row(const ClipPlanes& clip, std::int64_t frame, const AxisTaps* down,
                                                      int k, int line, int below) {
  const StoredAxis& axis = clip.formula.down;
  const int first = k > 0 ? down[line].chroma.first : down[line].luma.first;
  const int height = k > 0 ? axis.chroma_samples : axis.picture.length;
  const ClipPlane& plane = clip.planes[k];
  return plane.samples + frame * plane.frame_stride + (first + 1 < height ? first + below : first) * plane.row_stride;
}

// Canvas samples of a patch from where its frame is stored.
template <class Sample>
class StoredSamples {
 public:
  OVE_HOST_DEVICE StoredSamples(const ClipPlanes& clip, std::int64_t frame, const AxisTaps* taps)
      : clip_(clip), frame_(frame), taps_(taps), colors_(clip.formula) {}

  // R, G and B in this line and column of the patch.
  OVE_HOST_DEVICE std::array<float, 3> operator()(int line, int column) const {
    const PatchFormula& f = clip_.formula;
    const int i = f.turned ? line : column, j = f.turned ? column : line;  // along the stored rows, and down
    const AxisTaps &across = taps_[i], &down = taps_[f.patch + j];
    if (!across.covered || !down.covered) return colors_.black;
    const auto value = [&](int k, const Tap& x, const Tap& y, int width) {
      const std::int64_t step = clip_.planes[k].step, left = x.first * step;
      return value_between<Sample>(row(k, j, 0), row(k, j, 1), left, x.first + 1 < width ? left + step : left,
                                   x.fraction, y.fraction, clip_.low_bits);
    };
    const float y = value(0, across.luma, down.luma, f.across.picture.length);
    if (f.components == 1) return colors_.rgb(y, 0, 0);
    const float cb = value(1, across.chroma, down.chroma, f.across.chroma_samples);
    return colors_.rgb(y, cb, value(2, across.chroma, down.chroma, f.across.chroma_samples));
  }

 private:
  OVE_HOST_DEVICE const std::uint8_t* row(int k, int line, int below) const {
    return stored_row(clip_, frame_, taps_ + clip_.formula.patch, k, line, below);
  }

  const ClipPlanes& clip_;
  std::int64_t frame_;
  const AxisTaps* taps_;
  PatchColors colors_;
};

// Neighbours of a row that are stored at once.
template <class Out>
struct alignas(2 * sizeof(Out)) [[gnu::may_alias]] SamplePair {
  Out first, second;
};

// Writes every stride-th canvas sample, or with kPairs every stride-th pair of neighbours, from `first` on, of a patch
// of p x p to its row (3, p, p); sample(line, column) is its R, G and B. Pairs need an even patch, and a row that lies
// where pairs may.
template <bool kPairs, class Sample, class Out>
OVE_HOST_DEVICE inline void write_patch(int p, const Sample& sample, int first, int stride, Out* row) {
  constexpr int kWidth = kPairs ? 2 : 1;
  const int columns = p / kWidth;
  const int lines_on = stride / columns, columns_on = stride % columns;
  int line = first / columns, column = first % columns;
  while (line < p) {
    Out* const at = row + line * p + column * kWidth;
    const std::array<float, 3> one = sample(line, column * kWidth);
    if constexpr (kPairs) {
      const std::array<float, 3> other = sample(line, column * kWidth + 1);
      for (int k = 0; k < 3; ++k) {
        *reinterpret_cast<SamplePair<Out>*>(at + k * p * p) = {static_cast<Out>(one[k]), static_cast<Out>(other[k])};
      }
    } else {
      for (int k = 0; k < 3; ++k) at[k * p * p] = static_cast<Out>(one[k]);
    }
    line += lines_on;
    column += columns_on;
    if (column >= columns) {
      column -= columns;
      ++line;
    }
  }
}

}  // namespace ove::tokens
