#include "h264/transform.h"

#include <algorithm>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "common/cpu.h"
#include "h264/transform_formula.h"

namespace ove::h264 {

namespace {

// 8.5.9: normAdjust4x4 and normAdjust8x8 by QP'Y % 6
constexpr std::uint8_t kNormAdjust4x4[6][3] = {{10, 16, 13}, {11, 18, 14}, {13, 20, 16},
                                               {14, 23, 18}, {16, 25, 20}, {18, 29, 23}};
constexpr std::uint8_t kNormAdjust8x8[6][6] = {{20, 18, 32, 19, 25, 24}, {22, 19, 35, 21, 28, 26},
                                               {26, 23, 42, 24, 33, 31}, {28, 25, 45, 26, 35, 33},
                                               {32, 28, 51, 30, 40, 38}, {36, 32, 58, 34, 46, 43}};

constexpr int norm_class_4x4(int x, int y) { return x % 2 == 0 && y % 2 == 0 ? 0 : x % 2 == 1 && y % 2 == 1 ? 1 : 2; }

constexpr int norm_class_8x8(int x, int y) {
  if (x % 4 == 0 && y % 4 == 0) return 0;
  if (x % 2 == 1 && y % 2 == 1) return 1;
  if (x % 4 == 2 && y % 4 == 2) return 2;
  if (x % 2 == 1 || y % 2 == 1) return x % 4 == 0 || y % 4 == 0 ? 3 : 5;
  return 4;
}

std::int16_t clip16(std::int32_t value) { return static_cast<std::int16_t>(std::clamp(value, -32768, 32767)); }

using Vector4 [[gnu::vector_size(16)]] = std::int32_t;
using Block4 = std::array<Vector4, 4>;

// Elements of both vectors, those of `b` counted from 4 on.
template <int... kIndex>
Vector4 shuffled(Vector4 a, Vector4 b) {
#if defined(__clang__)
  return __builtin_shufflevector(a, b, kIndex...);
#else
  return __builtin_shuffle(a, b, Vector4{kIndex...});
#endif
}

inline Block4 transpose(const Vector4* m) {
  const Vector4 a = shuffled<0, 4, 1, 5>(m[0], m[1]);
  const Vector4 b = shuffled<0, 4, 1, 5>(m[2], m[3]);
  const Vector4 c = shuffled<2, 6, 3, 7>(m[0], m[1]);
  const Vector4 d = shuffled<2, 6, 3, 7>(m[2], m[3]);
  return {shuffled<0, 1, 4, 5>(a, b), shuffled<2, 3, 6, 7>(a, b), shuffled<0, 1, 4, 5>(c, d),
          shuffled<2, 3, 6, 7>(c, d)};
}

// One dimension of 8.5.12.2, of four rows or columns at a time
inline void transform4(Vector4* x) {
  const Vector4 e = x[0] + x[2], f = x[0] - x[2], g = (x[1] >> 1) - x[3], h = x[1] + (x[3] >> 1);
  x[0] = e + h;
  x[1] = f + g;
  x[2] = f - g;
  x[3] = e - h;
}

// Four samples of the residual from their sums
inline void store4(Vector4 sums, std::int16_t* out) {
  sums = (sums + 32) >> 6;
#if defined(__SSE2__)
  const auto v = reinterpret_cast<__m128i>(sums);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(out), _mm_packs_epi32(v, v));
#else
  for (int i = 0; i < 4; ++i) out[i] = clip16(sums[i]);
#endif
}

}  // namespace

LevelScales::LevelScales(const ScalingFactors& factors) {
  for (std::size_t list = 0; list < 2; ++list) {
    for (std::size_t rem = 0; rem < 6; ++rem) {
      for (int i = 0; i < 16; ++i) {
        size4[list][rem][static_cast<std::size_t>(i)] =
            factors.size4[list][static_cast<std::size_t>(i)] * kNormAdjust4x4[rem][norm_class_4x4(i % 4, i / 4)];
      }
      for (int i = 0; i < 64; ++i) {
        size8[list][rem][static_cast<std::size_t>(i)] =
            factors.size8[list][static_cast<std::size_t>(i)] * kNormAdjust8x8[rem][norm_class_8x8(i % 8, i / 8)];
      }
    }
  }
}

void inverse_luma_dc(std::array<std::int32_t, 16>& dc, std::int32_t scale, int qp_per) {
  const auto butterfly = [&](std::size_t at, std::size_t step) {
    const std::int32_t a = dc[at] + dc[at + step], b = dc[at] - dc[at + step];
    const std::int32_t c = dc[at + 2 * step] + dc[at + 3 * step], d = dc[at + 2 * step] - dc[at + 3 * step];
    dc[at] = a + c;
    dc[at + step] = a - c;
    dc[at + 2 * step] = b - d;
    dc[at + 3 * step] = b + d;
  };
  for (std::size_t i = 0; i < 4; ++i) butterfly(4 * i, 1);
  for (std::size_t i = 0; i < 4; ++i) butterfly(i, 4);
  const std::int64_t factor = std::int64_t{scale} << qp_per;
  for (std::int32_t& value : dc) {
    value = static_cast<std::int32_t>(std::clamp((value * factor + 32) >> 6, -kMaxCoefficient, kMaxCoefficient));
  }
}

void inverse_transform_4x4(std::int32_t* coefficients, std::int16_t* out, std::ptrdiff_t stride) {
  Block4 block;
  std::memcpy(block.data(), coefficients, sizeof(block));
  std::memset(coefficients, 0, sizeof(block));
  block = transpose(block.data());
  transform4(block.data());
  block = transpose(block.data());
  transform4(block.data());
  for (const Vector4& row : block) {
    store4(row, out);
    out += stride;
  }
}

void inverse_transform_8x8(std::int32_t* coefficients, std::int16_t* out, std::ptrdiff_t stride) {
  // The left and the right half of all rows; the upper and the lower half of
  // all columns
  std::array<std::array<Vector4, 8>, 2> rows, columns;
  for (std::size_t y = 0; y < 8; ++y) {
    for (std::size_t half = 0; half < 2; ++half) std::memcpy(&rows[half][y], coefficients + 8 * y + 4 * half, 16);
  }
  std::memset(coefficients, 0, 64 * sizeof(*coefficients));
  const auto transpose8 = [](const auto& in, auto& to) {
    for (std::size_t a = 0; a < 2; ++a) {
      for (std::size_t b = 0; b < 2; ++b) {
        const Block4 block = transpose(&in[a][4 * b]);
        std::copy(block.begin(), block.end(), &to[b][4 * a]);
      }
    }
  };
  transpose8(rows, columns);
  for (auto& half : columns) transform8(half.data());
  transpose8(columns, rows);
  for (auto& half : rows) transform8(half.data());
  for (std::size_t y = 0; y < 8; ++y, out += stride) {
    store4(rows[0][y], out);
    store4(rows[1][y], out + 4);
  }
}

InverseTransform fastest_transform_8x8() {
#if OVE_X86_V3
  if (cpu_is_v3()) return inverse_transform_8x8_avx2;
#endif
  return inverse_transform_8x8;
}

void bypass_transform(std::int32_t* coefficients, int size, BypassMode mode, std::int16_t* out, std::ptrdiff_t stride) {
  for (int y = 0; y < size; ++y) {
    for (int x = 0; x < size; ++x) {
      std::int32_t value = coefficients[y * size + x];
      if (mode == BypassMode::kVertical && y > 0) value += out[(y - 1) * stride + x];
      if (mode == BypassMode::kHorizontal && x > 0) value += out[y * stride + x - 1];
      out[y * stride + x] = clip16(value);
    }
  }
  std::fill_n(coefficients, size * size, 0);
}

}  // namespace ove::h264
