// The arithmetic of heat, one value at a time, for the CPU's loops and for the GPU's kernels. Single precision and the
// order of operations belong to the definition: both give the same scores.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "common/host_device.h"
#include "saliency/params.h"

namespace ove::saliency {

constexpr float kQuarter = 0.25f;
// Percentiles below these count as these.
constexpr double kLeastMotion = 1e-6, kLeastResidual = 1.0, kLeastBits = 1e-6;

OVE_HOST_DEVICE inline float least(float a, float b) { return b < a ? b : a; }
OVE_HOST_DEVICE inline float most(float a, float b) { return a < b ? b : a; }

// Unsigned integers in the order of the floats, and back.
OVE_HOST_DEVICE inline std::uint32_t ordered_bits(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
OVE_HOST_DEVICE inline float from_ordered_bits(std::uint32_t ordered) {
  return std::bit_cast<float>(ordered & 0x80000000u ? ordered & 0x7fffffffu : ~ordered);
}

// Of n values, a percentile lies at `fraction` of the way from the one of rank `low` to that of rank `high`.
struct Rank {
  std::uint64_t low = 0, high = 0;
  double fraction = 0;
};
OVE_HOST_DEVICE inline Rank rank_of(std::uint64_t n, double q) {
  const double position = q / 100.0 * static_cast<double>(n - 1);
  const double whole = std::floor(position), fraction = position - whole;
  const auto truncated = static_cast<std::uint64_t>(whole);
  const std::uint64_t low = truncated < n - 1 ? truncated : n - 1;
  if (fraction == 0.0 || low + 1 == n) return {low, low, 0.0};
  return {low, low + 1, fraction};
}
OVE_HOST_DEVICE inline double between_ranks(const Rank& rank, double at_low, double at_high) {
  return rank.low == rank.high ? at_low : at_low + (at_high - at_low) * rank.fraction;
}

// A bin of non-negative floats keeps 16 bits behind the leading one: a value is exact to 2^-17 of itself.
constexpr int kDroppedBits = 7;
OVE_HOST_DEVICE inline std::uint32_t magnitude_bin(float value) {
  return (std::bit_cast<std::uint32_t>(value) + (1u << (kDroppedBits - 1))) >> kDroppedBits;
}
OVE_HOST_DEVICE inline float magnitude_of_bin(std::uint32_t bin) { return std::bit_cast<float>(bin << kDroppedBits); }

// The factor from a value to its energy.
OVE_HOST_DEVICE inline float scale_of(double percentile, double floor) {
  return static_cast<float>(1.0 / (percentile < floor ? floor : percentile));
}
OVE_HOST_DEVICE inline float energy(float value, float scale, float weight) {
  return weight * least(value * scale, 1.0f);
}

// dx = (x0 + xx * u) + xy * v, dy = (y0 + yx * u) + yy * v, with u and v from -1 at the first sample of the map to 1 at
// the last one.
struct Camera {
  float x0 = 0, xx = 0, xy = 0;
  float y0 = 0, yx = 0, yy = 0;
};

// |(x, y) - camera| at the coordinates u and v; without them for a camera that only translates.
OVE_HOST_DEVICE inline float magnitude(float x, float y, const Camera& c, float u, float v) {
  const float dx = x - ((c.x0 + c.xx * u) + c.xy * v), dy = y - ((c.y0 + c.yx * u) + c.yy * v);
  return std::sqrt(dx * dx + dy * dy);
}
OVE_HOST_DEVICE inline float magnitude(float x, float y, const Camera& c) {
  const float dx = x - c.x0, dy = y - c.y0;
  return std::sqrt(dx * dx + dy * dy);
}

struct Vector {
  float x, y;
};

// The lists that a block uses where nothing but its vectors tells: those whose vector is not 0. mv: (2 lists, x y).
OVE_HOST_DEVICE inline std::uint8_t used_lists(const std::int16_t* mv) {
  const int first = (mv[0] | mv[1]) != 0, second = (mv[2] | mv[3]) != 0;
  return static_cast<std::uint8_t>(first | second << 1);
}

// The vector of one list of a block, in samples; mv: (2 lists, x y), quarter samples. Where the list is not used it is
// 0, or with `fall_back` that of list 1 for list 0.
OVE_HOST_DEVICE inline Vector list_vector(const std::int16_t* mv, std::uint8_t pred, int list, bool fall_back) {
  if ((pred >> list & 1) == 0) {
    if (!fall_back || (pred & 2) == 0) return {0, 0};
    list = 1;
  }
  return {static_cast<float>(mv[2 * list]) * kQuarter, static_cast<float>(mv[2 * list + 1]) * kQuarter};
}

// Vectors point into the reference; divided by (poc - ref_poc) both lists become the motion since the picture before.
OVE_HOST_DEVICE inline float displacement_scale(std::int32_t poc, std::int32_t ref_poc) {
  const std::int64_t distance = static_cast<std::int64_t>(poc) - ref_poc;
  return kQuarter / static_cast<float>(distance == 0 ? 1 : distance);
}
OVE_HOST_DEVICE inline Vector displacement(const std::int16_t* mv, std::uint8_t pred, const std::int32_t* ref_poc,
                                           std::int32_t poc) {
  Vector sum{0, 0};
  for (int list = 0; list < 2; ++list) {
    if ((pred >> list & 1) == 0) continue;
    const float scale = displacement_scale(poc, ref_poc[list]);
    sum.x += static_cast<float>(mv[2 * list]) * scale;
    sum.y += static_cast<float>(mv[2 * list + 1]) * scale;
  }
  return (pred & 3) == 3 ? Vector{sum.x * 0.5f, sum.y * 0.5f} : sum;
}

// The variance of `area` values, from their sum and that of their squares.
OVE_HOST_DEVICE inline float window_variance(double sum, double squares, double area) {
  const double mean = sum / area, variance = squares / area - mean * mean;
  return static_cast<float>(variance < 0 ? 0 : variance);
}
// The mean over k x k samples, from the sums of all above and left of its corners, those included.
OVE_HOST_DEVICE inline float integral_mean(float lower_right, float upper_right, float lower_left, float upper_left,
                                           int k) {
  return (((lower_right - upper_right) - lower_left) + upper_left) / static_cast<float>(k * k);
}
OVE_HOST_DEVICE inline float reference_variance(float mean, float mean_square) {
  return most(0.0f, mean_square - mean * mean);
}

// Whether a block of a P or B picture has no vector; `pred` as in PictureView.
OVE_HOST_DEVICE inline bool is_intra_block(std::uint8_t pred) { return (pred & 3) == 0; }
// |v| of such blocks, from the median and the largest of the other blocks' (measured at their middles where values
// differ inside a block). Where none of the others moves, the largest still counts as motion.
OVE_HOST_DEVICE inline float filled_magnitude(IntraBlocks intra_blocks, double median, float largest) {
  switch (intra_blocks) {
    case IntraBlocks::kMedian:
      return static_cast<float>(median);
    case IntraBlocks::kMax:
      return most(largest, static_cast<float>(kLeastMotion));
    default:
      return 0.0f;
  }
}

// The value of a place after one more picture, from 0 on: |v|, |Y - 128| or bits of a CTU.
template <class T>
OVE_HOST_DEVICE inline T accumulated(Accumulate accumulate, T so_far, T next) {
  return accumulate == Accumulate::kMax ? (so_far < next ? next : so_far) : so_far + next;
}

// What bits of a CTU, those of one picture or of several, count as.
OVE_HOST_DEVICE inline float value_of_bits(std::int64_t bits) {
  return static_cast<float>(std::log1p(static_cast<double>(bits)));
}

// |Y - 128| of a residual scaled to 8 bits.
OVE_HOST_DEVICE inline int residual_level(int sample) {
  return sample < 0 ? (sample < -128 ? 128 : -sample) : (sample > 127 ? 127 : sample);
}

// Of `count` energies in use.
OVE_HOST_DEVICE inline float fold(Fuse fuse, float fused, float next) {
  switch (fuse) {
    case Fuse::kMax:
      return most(fused, next);
    case Fuse::kSum:
      return least(fused + next, 1.0f);
    case Fuse::kGeomean:
      return fused * next;
    default:
      return fused + next;
  }
}
OVE_HOST_DEVICE inline float folded(Fuse fuse, float value, int count) {
  if (fuse != Fuse::kGeomean || count == 1) return value;
  return count == 2 ? std::sqrt(value) : std::cbrt(value);
}

// `strength` is the prior's, times its bell at this row; `bell` that at this column.
OVE_HOST_DEVICE inline float with_prior(float heat, float strength, float bell) {
  return least(heat * (1.0f + strength * bell), 1.0f);
}
// floor(255 * min(heat, 1)) of heat that is not negative.
OVE_HOST_DEVICE inline float quantized(float heat) {
  return static_cast<float>(static_cast<int>(255.0f * least(heat, 1.0f)));
}
// Clipped to 0..255 and rounded half to even. At 2^23 and above a float has no fraction: adding and taking off rounds.
OVE_HOST_DEVICE inline float saturated(float value) {
  constexpr float kWhole = 1 << 23;
  return (least(most(value, 0.0f), 255.0f) + kWhole) - kWhole;
}

// A sum rounded to 2^-22 of a full score, so that patches of equal heat score the same; that of quantised heat is whole
// anyway.
OVE_HOST_DEVICE inline float score_of(double sum, double full_score, bool quantize) {
  const double unit = full_score / (1 << 22);
  return static_cast<float>(quantize ? sum : std::nearbyint(sum / unit) * unit);
}

// Products of n values, in four sums.
OVE_HOST_DEVICE inline double dot(const float* a, const float* b, int n) {
  double lanes[4] = {};
  int i = 0;
  for (; i + 4 <= n; i += 4) {
    for (int k = 0; k < 4; ++k) lanes[k] += static_cast<double>(a[i + k]) * static_cast<double>(b[i + k]);
  }
  double sum = (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
  for (; i < n; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

// The mean heat of a patch, 0..1, and whether it is above tau.
OVE_HOST_DEVICE inline float mean_heat(float score, double full_score) {
  return static_cast<float>(static_cast<double>(score) / full_score);
}
OVE_HOST_DEVICE inline bool is_hot(float score, double full_score, double tau) {
  return static_cast<double>(score) / full_score > tau;
}

// Whether a clip is static, by percentiles of the mean heat of its patches (0..1): few are hot, or the heat is flat.
OVE_HOST_DEVICE inline bool is_static(double p95, double p50, double level, double contrast) {
  return p95 < level || (p95 < 2 * level && (p95 - p50) / (p95 < 1e-9 ? 1e-9 : p95) < contrast);
}

// Classes of patches, in the order in which they are kept: of the first picture, of the uniform pictures of a static
// clip, of pictures to keep whole, and the others.
enum PatchClass : std::uint8_t { kFirst, kUniform, kWhole, kFree };

constexpr int kIndexBits = 30;

// Ascending keys are the ranking: class, then score descending, then index ascending. A padded patch comes after every
// score.
OVE_HOST_DEVICE inline std::uint64_t rank_key(std::uint8_t rank_class, float score, bool padded, std::uint64_t index) {
  const std::uint32_t above = padded ? 0 : ordered_bits(score + 0.0f);  // -0 is 0
  return std::uint64_t{rank_class} << 62 | std::uint64_t{~above} << kIndexBits | index;
}

// Indices times 2^30 over the golden ratio, modulo 2^30: the smallest of the results belong to indices that are spread
// evenly. Factor and inverse are odd, so this is a permutation.
constexpr std::uint64_t kIndexMask = (std::uint64_t{1} << kIndexBits) - 1;
constexpr std::uint64_t kSpread = 663608941, kSpreadInverse = 247520101;
static_assert((kSpread * kSpreadInverse & kIndexMask) == 1);

// The ranking in a first picture that is kept in part: score descending, equal scores spread over the picture. A
// picture without any heat is so kept as a coarse whole.
OVE_HOST_DEVICE inline std::uint64_t first_key(float score, bool padded, std::uint64_t patch) {
  return rank_key(kFirst, score, padded, patch * kSpread & kIndexMask);
}

OVE_HOST_DEVICE inline std::uint64_t patch_of_first_key(std::uint64_t key) { return key * kSpreadInverse & kIndexMask; }

}  // namespace ove::saliency
