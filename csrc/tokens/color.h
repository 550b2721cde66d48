// From stored samples to R'G'B' (ITU-T H.273, 8.3 and table 4).
#pragma once

#include <algorithm>
#include <array>

#include "common/host_device.h"
#include "common/yuv.h"

namespace ove::tokens {

// rgb[k] = weight[k][0] * Y + weight[k][1] * Cb + weight[k][2] * Cr + offset[k], of stored sample values; black is 0
// and white 1 before clamping. Transfer characteristics stay as coded: no tone mapping.
struct ColorConversion {
  std::array<std::array<float, 3>, 3> weight{};
  std::array<float, 3> offset{};
};

// One of R, G and B, from its weights and offset; not clamped.
OVE_HOST_DEVICE inline float converted(const std::array<float, 3>& weight, float offset, float y, float cb, float cr) {
  return weight[0] * y + weight[1] * cb + weight[2] * cr + offset;
}

// From [0, 1], to which it is clamped, to what the encoder takes.
OVE_HOST_DEVICE inline float normalized(float value, float scale, float black) {
#ifdef __CUDA_ARCH__
  return __saturatef(value) * scale + black;  // one instruction
#else
  return std::clamp(value, 0.0F, 1.0F) * scale + black;
#endif
}

// Kr and Kb of the matrices that are made of them.
struct LumaShares {
  double red, blue;
};

constexpr LumaShares luma_shares(ColorMatrix matrix) {
  switch (matrix) {
    case ColorMatrix::kBt709:
      return {0.2126, 0.0722};
    case ColorMatrix::kFcc:
      return {0.30, 0.11};
    case ColorMatrix::kSmpte240m:
      return {0.212, 0.087};
    case ColorMatrix::kBt2020:
      return {0.2627, 0.0593};
    default:
      return {0.299, 0.114};
  }
}

constexpr ColorConversion color_conversion(const YuvFormat& f) {
  const double unit = static_cast<double>(1 << f.bit_depth) / 256, peak = static_cast<double>((1 << f.bit_depth) - 1);
  const double luma_scale = f.full_range ? 1 / peak : 1 / (219 * unit), luma_zero = f.full_range ? 0 : 16 * unit;
  double chroma_scale = f.full_range ? 1 / peak : 1 / (224 * unit), chroma_zero = 128 * unit;
  double m[3][3] = {{1, 0, 0}, {1, 0, 0}, {1, 0, 0}};
  if (f.components == 3 && f.matrix == ColorMatrix::kRgb) {
    m[1][0] = m[2][0] = 0;
    m[1][1] = m[2][2] = 1;
    chroma_scale = luma_scale, chroma_zero = luma_zero;
  } else if (f.components == 3 && f.matrix == ColorMatrix::kYcgco) {
    m[0][1] = m[2][1] = -1;
    m[1][1] = m[0][2] = 1;
    m[2][2] = -1;
  } else if (f.components == 3) {
    const auto [kr, kb] = luma_shares(f.matrix);
    const double kg = 1 - kr - kb;
    m[0][2] = 2 * (1 - kr);
    m[2][1] = 2 * (1 - kb);
    m[1][1] = -kb / kg * m[2][1];
    m[1][2] = -kr / kg * m[0][2];
  }
  ColorConversion c;
  for (int k = 0; k < 3; ++k) {
    c.weight[k] = {static_cast<float>(m[k][0] * luma_scale), static_cast<float>(m[k][1] * chroma_scale),
                   static_cast<float>(m[k][2] * chroma_scale)};
    c.offset[k] =
        static_cast<float>(-m[k][0] * luma_scale * luma_zero - (m[k][1] + m[k][2]) * chroma_scale * chroma_zero);
  }
  return c;
}

}  // namespace ove::tokens
