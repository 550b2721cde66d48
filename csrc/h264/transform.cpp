#include "h264/transform.h"

#include <algorithm>

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

// One dimension of 8.5.12.2, of elements `step` apart
inline void transform4(const std::int32_t* in, int step, std::int32_t* out) {
  const std::int32_t e = in[0] + in[2 * step], f = in[0] - in[2 * step];
  const std::int32_t g = (in[step] >> 1) - in[3 * step], h = in[step] + (in[3 * step] >> 1);
  out[0] = e + h;
  out[step] = f + g;
  out[2 * step] = f - g;
  out[3 * step] = e - h;
}

// One dimension of 8.5.13.2
inline void transform8(const std::int32_t* in, int step, std::int32_t* out) {
  const auto x = [&](int i) { return in[i * step]; };
  const std::int32_t a0 = x(0) + x(4), a2 = x(0) - x(4), a4 = (x(2) >> 1) - x(6), a6 = x(2) + (x(6) >> 1);
  const std::int32_t b0 = a0 + a6, b2 = a2 + a4, b4 = a2 - a4, b6 = a0 - a6;
  const std::int32_t a1 = x(5) - x(3) - x(7) - (x(7) >> 1), a3 = x(1) + x(7) - x(3) - (x(3) >> 1);
  const std::int32_t a5 = x(7) - x(1) + x(5) + (x(5) >> 1), a7 = x(3) + x(5) + x(1) + (x(1) >> 1);
  const std::int32_t b1 = a1 + (a7 >> 2), b7 = a7 - (a1 >> 2), b3 = a3 + (a5 >> 2), b5 = (a3 >> 2) - a5;
  out[0] = b0 + b7;
  out[step] = b2 + b5;
  out[2 * step] = b4 + b3;
  out[3 * step] = b6 + b1;
  out[4 * step] = b6 - b1;
  out[5 * step] = b4 - b3;
  out[6 * step] = b2 - b5;
  out[7 * step] = b0 - b7;
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
  std::int32_t* const c = coefficients;
  for (int y = 0; y < 4; ++y) transform4(c + 4 * y, 1, c + 4 * y);
  for (int x = 0; x < 4; ++x) transform4(c + x, 4, c + x);
  for (int y = 0; y < 4; ++y) {
    for (int x = 0; x < 4; ++x) out[y * stride + x] = clip16((c[4 * y + x] + 32) >> 6);
  }
  std::fill_n(c, 16, 0);
}

void inverse_transform_8x8(std::int32_t* coefficients, std::int16_t* out, std::ptrdiff_t stride) {
  std::int32_t* const c = coefficients;
  for (int y = 0; y < 8; ++y) transform8(c + 8 * y, 1, c + 8 * y);
  for (int x = 0; x < 8; ++x) transform8(c + x, 8, c + x);
  for (int y = 0; y < 8; ++y) {
    for (int x = 0; x < 8; ++x) out[y * stride + x] = clip16((c[8 * y + x] + 32) >> 6);
  }
  std::fill_n(c, 64, 0);
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
