// Plain parameters of the heat: what a preset names.
#pragma once

#include <cstdint>

namespace ove::saliency {

enum class Interpolation : std::uint8_t { kBilinear, kCubic };
enum class Compensate : std::uint8_t { kNone, kMedian, kMean, kSimilarity, kAffine };
enum class VectorMode : std::uint8_t { kL0, kL0ElseL1, kBoth, kDisplacement };
// |v| of the intra blocks of P and B pictures: that of a vector of 0, or 0, the median or the largest of the others.
enum class IntraBlocks : std::uint8_t { kAsCoded, kZero, kMedian, kMax };
// What a sampled picture counts: its own values, or the sum or the largest of those since the one sampled before it.
enum class Accumulate : std::uint8_t { kNone, kSum, kMax };
enum class Fuse : std::uint8_t { kWeighted, kMax, kSum, kGeomean };

struct HeatParams {
  Interpolation interpolation = Interpolation::kBilinear;
  double percentile = 95.0;  // 0..100, scale of every energy
  bool clip_scope = false;   // the percentile is taken over all measured pictures instead of over each
  Compensate compensate = Compensate::kNone;
  VectorMode vector = VectorMode::kL0ElseL1;
  IntraBlocks intra_blocks = IntraBlocks::kAsCoded;
  bool zero_intra_pictures = false;
  Accumulate accumulate = Accumulate::kNone;
  Fuse fuse = Fuse::kWeighted;
  double mv_weight = 0.5, residual_weight = 0.5, bits_weight = 0.0;  // an energy of weight 0 takes no part
  // As the reference implementation does it: the 4x4 blocks that lie wholly in the window are stretched over it, and
  // the local variance comes from integral images in single precision, whose rounding rules it where vectors hardly
  // vary.
  bool reference_motion = false;
  int local_variance = 0;      // 0, or the odd side of the window whose variance of |v| replaces |v|
  double center_prior = 0.0;   // strength; 0 switches it off
  double center_sigma = 0.35;  // of the shorter side of the picture
  bool quantize = false;       // heat as integers 0..255, floored at source and rounded after the resize
};

}  // namespace ove::saliency
