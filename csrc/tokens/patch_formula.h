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

// Where the stored rows of a frame lie: those of component k above and below each line of a patch, from their sample 0.
class StoredRows {
 public:
  OVE_HOST_DEVICE StoredRows(const ClipPlanes& clip, std::int64_t frame, const AxisTaps* taps)
      : clip_(clip), frame_(frame), down_(taps + clip.formula.patch) {}

  OVE_HOST_DEVICE const std::uint8_t* operator()(int k, int line, int below) const {
    const StoredAxis& axis = clip_.formula.down;
    const Tap& tap = k > 0 ? down_[line].chroma : down_[line].luma;
    const int height = k > 0 ? axis.chroma_samples : axis.picture.length;
    const int row = tap.first + 1 < height ? tap.first + below : tap.first;
    const ClipPlane& plane = clip_.planes[k];
    return plane.samples + frame_ * plane.frame_stride + row * plane.row_stride;
  }

 private:
  const ClipPlanes& clip_;
  std::int64_t frame_;
  const AxisTaps* down_;
};

// A plane's value between two rows at a tap across: interpolated down, then across.
template <class Sample>
OVE_HOST_DEVICE inline float plane_value(const std::uint8_t* upper, const std::uint8_t* lower, const Tap& across,
                                         float down, int width, std::int64_t step, int low_bits) {
  const std::int64_t left = across.first * step, right = across.first + 1 < width ? left + step : left;
  const auto sample = [low_bits](const std::uint8_t* at) {
    return static_cast<float>(*reinterpret_cast<const Sample*>(at) >> low_bits);
  };
  return interpolated(interpolated(sample(upper + left), sample(lower + left), down),
                      interpolated(sample(upper + right), sample(lower + right), down), across.fraction);
}

// R, G and B of the canvas sample in this line and column of the patch, whose complete taps and rows are given.
template <class Sample, class Rows>
OVE_HOST_DEVICE inline std::array<float, 3> patch_sample(const ClipPlanes& clip, const AxisTaps* taps, const Rows& rows,
                                                         int line, int column) {
  const PatchFormula& f = clip.formula;
  const int i = f.turned ? line : column, j = f.turned ? column : line;  // along the stored rows, and down
  const AxisTaps &across = taps[i], &down = taps[f.patch + j];
  std::array<float, 3> rgb = f.black;
  if (!across.covered || !down.covered) return rgb;
  const auto value = [&](int k, const Tap& x, const Tap& y, int width) {
    return plane_value<Sample>(rows(k, j, 0), rows(k, j, 1), x, y.fraction, width, clip.planes[k].step, clip.low_bits);
  };
  const float y = value(0, across.luma, down.luma, f.across.picture.length);
  float cb = 0, cr = 0;
  if (f.components == 3) {
    cb = value(1, across.chroma, down.chroma, f.across.chroma_samples);
    cr = value(2, across.chroma, down.chroma, f.across.chroma_samples);
  }
  for (int k = 0; k < 3; ++k) {
    rgb[k] = normalized(converted(f.color.weight[k], f.color.offset[k], y, cb, cr), f.scale[k], f.black[k]);
  }
  return rgb;
}

// Neighbours of a row that are stored at once.
template <class Out>
struct alignas(2 * sizeof(Out)) [[gnu::may_alias]] SamplePair {
  Out first, second;
};

// Writes every stride-th canvas sample, or with kPairs every stride-th pair of neighbours, from `first` on, of a patch
// to its row (3, patch, patch). Pairs need an even patch, and a row that lies where pairs may.
template <class Sample, bool kPairs, class Rows, class Out>
OVE_HOST_DEVICE inline void write_patch(const ClipPlanes& clip, const AxisTaps* taps, const Rows& rows, int first,
                                        int stride, Out* row) {
  constexpr int kWidth = kPairs ? 2 : 1;
  const int p = clip.formula.patch, columns = p / kWidth;
  const int lines_on = stride / columns, columns_on = stride % columns;
  int line = first / columns, column = first % columns;
  while (line < p) {
    Out* const at = row + line * p + column * kWidth;
    const std::array<float, 3> one = patch_sample<Sample>(clip, taps, rows, line, column * kWidth);
    if constexpr (kPairs) {
      const std::array<float, 3> other = patch_sample<Sample>(clip, taps, rows, line, column * kWidth + 1);
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
