// From scaled transform coefficients to the luma residual (8.5.6 to 8.5.15).
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "h264/scaling_list.h"

namespace ove::h264 {

// LevelScale4x4 and LevelScale8x8 (8.5.9) by intra (0) or inter (1) and QP'Y % 6, by position.
struct LevelScales {
  std::array<std::array<std::array<std::int32_t, 16>, 6>, 2> size4;
  std::array<std::array<std::array<std::int32_t, 64>, 6>, 2> size8;

  LevelScales() {}  // not set
  explicit LevelScales(const ScalingFactors& factors);
};

// A scaled coefficient and its sums stay within 32 bits: no stream that obeys the standard goes beyond 21 bits.
constexpr std::int64_t kMaxCoefficient = std::int64_t{1} << 22;

// 8.5.10: DC levels of an Intra16x16 macroblock, by block in raster order, to the DC coefficients of the blocks.
// `scale` is LevelScale4x4(QP'Y % 6, 0, 0), `qp_per` QP'Y / 6.
void inverse_luma_dc(std::array<std::int32_t, 16>& dc, std::int32_t scale, int qp_per);

// 8.5.12, 8.5.13: writes the residual of a block (row stride in samples) and clears its coefficients, which lie row by
// row.
void inverse_transform_4x4(std::int32_t* coefficients, std::int16_t* out, std::ptrdiff_t stride);
void inverse_transform_8x8(std::int32_t* coefficients, std::int16_t* out, std::ptrdiff_t stride);

// All samples of a block of either size that has no other coefficient.
inline std::int16_t transform_dc(std::int32_t coefficient) {
  return static_cast<std::int16_t>(std::clamp((coefficient + 32) >> 6, -32768, 32767));
}

// 8x8 blocks with AVX2, where OVE_X86_V3 is set, for processors with cpu_is_v3()
void inverse_transform_8x8_avx2(std::int32_t* coefficients, std::int16_t* out, std::ptrdiff_t stride);

// The one to use on this processor
using InverseTransform = void (*)(std::int32_t* coefficients, std::int16_t* out, std::ptrdiff_t stride);
InverseTransform fastest_transform_8x8();

// 8.5.15: the prediction of lossless intra blocks that makes each sample add to the next
enum class BypassMode : std::uint8_t { kNone, kVertical, kHorizontal };

// Lossless blocks: as above, without transform.
void bypass_transform(std::int32_t* coefficients, int size, BypassMode mode, std::int16_t* out, std::ptrdiff_t stride);

}  // namespace ove::h264
