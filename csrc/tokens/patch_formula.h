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

// The plane's value at a pair of taps: interpolated down, then across.
template <class Sample>
OVE_HOST_DEVICE inline float plane_value(const ClipPlane& plane, std::int64_t frame, const Tap& across, const Tap& down,
                                         int width, int height, int low_bits) {
  const std::uint8_t* const upper = plane.samples + frame * plane.frame_stride + down.first * plane.row_stride;
  const std::uint8_t* const lower = down.first + 1 < height ? upper + plane.row_stride : upper;
  const std::int64_t left = across.first * plane.step, right = across.first + 1 < width ? left + plane.step : left;
  const auto sample = [low_bits](const std::uint8_t* at) {
    return static_cast<float>(*reinterpret_cast<const Sample*>(at) >> low_bits);
  };
  return interpolated(interpolated(sample(upper + left), sample(lower + left), down.fraction),
                      interpolated(sample(upper + right), sample(lower + right), down.fraction), across.fraction);
}

// Writes every stride-th canvas sample, from `first` on, of a patch to its row (3, patch, patch). `taps` are the
// patch's, complete.
template <class Sample, class Out>
OVE_HOST_DEVICE inline void write_patch(const ClipPlanes& clip, std::int64_t frame, const AxisTaps* taps, int first,
                                        int stride, Out* row) {
  const PatchFormula& f = clip.formula;
  const int p = f.patch;
  for (int i = first; i < p * p; i += stride) {
    const AxisTaps& across = taps[f.turned ? i / p : i % p];
    const AxisTaps& down = taps[p + (f.turned ? i % p : i / p)];
    const bool covered = across.covered && down.covered;
    float y = 0, cb = 0, cr = 0;
    if (covered) {
      y = plane_value<Sample>(clip.planes[0], frame, across.luma, down.luma, f.across.picture.length,
                              f.down.picture.length, clip.low_bits);
    }
    if (covered && f.components == 3) {
      cb = plane_value<Sample>(clip.planes[1], frame, across.chroma, down.chroma, f.across.chroma_samples,
                               f.down.chroma_samples, clip.low_bits);
      cr = plane_value<Sample>(clip.planes[2], frame, across.chroma, down.chroma, f.across.chroma_samples,
                               f.down.chroma_samples, clip.low_bits);
    }
    for (int k = 0; k < 3; ++k) {
      const float value = converted(f.color.weight[k], f.color.offset[k], y, cb, cr);
      row[k * p * p + i] = static_cast<Out>(covered ? normalized(value, f.scale[k], f.black[k]) : f.black[k]);
    }
  }
}

}  // namespace ove::tokens
