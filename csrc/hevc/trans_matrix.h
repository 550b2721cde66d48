// The matrices of 8.6.4.2.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace ove::hevc {

// |coefficient| of the 32-point transform at the angle a * pi / 64; every entry of transMatrix is one of these
// (8.6.4.2).
inline constexpr std::array<std::int8_t, 33> kTransAngles = {64, 90, 90, 90, 89, 88, 87, 85, 83, 82, 80,
                                                             78, 75, 73, 70, 67, 64, 61, 57, 54, 50, 46,
                                                             43, 38, 36, 31, 25, 22, 18, 13, 9,  4,  0};

constexpr std::array<std::array<std::int8_t, 32>, 32> make_trans_matrix() {
  std::array<std::array<std::int8_t, 32>, 32> m{};
  for (std::size_t k = 0; k < 32; ++k) {
    for (std::size_t n = 0; n < 32; ++n) {
      std::size_t angle = (2 * n + 1) * k % 128;  // of a period of 128
      if (angle > 64) angle = 128 - angle;        // cosine is even
      const std::int8_t value = angle <= 32 ? kTransAngles[angle] : static_cast<std::int8_t>(-kTransAngles[64 - angle]);
      m[k][n] = k == 0 ? std::int8_t{64} : value;
    }
  }
  return m;
}

// transMatrix, [column k of frequency][sample]; smaller transforms use every second, fourth or eighth frequency
inline constexpr std::array<std::array<std::int8_t, 32>, 32> kTransMatrix = make_trans_matrix();

// The 4x4 transforms, [frequency][sample]: of intra luma, and of everything else
using TransMatrix4 = std::array<std::array<std::int8_t, 4>, 4>;
inline constexpr TransMatrix4 kDst4 = {{{29, 55, 74, 84}, {74, 74, 0, -74}, {84, -29, -74, 55}, {55, -84, 74, -29}}};
inline constexpr TransMatrix4 kDct4 = {{{64, 64, 64, 64}, {83, 36, -36, -83}, {64, -64, -64, 64}, {36, -83, 83, -36}}};

}  // namespace ove::hevc
