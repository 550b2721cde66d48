// Inverse scans (8.5.6, 8.5.7): position (y * size + x) by index.
#pragma once

#include <array>
#include <cstdint>

namespace ove::h264 {

using Scan4x4 = std::array<std::uint8_t, 16>;
using Scan8x8 = std::array<std::uint8_t, 64>;

template <int kSize>
constexpr auto zigzag_scan() {
  std::array<std::uint8_t, kSize * kSize> scan{};
  std::size_t n = 0;
  for (int diagonal = 0; diagonal < 2 * kSize - 1; ++diagonal) {
    for (int i = 0; i <= diagonal; ++i) {
      const int x = diagonal % 2 == 0 ? i : diagonal - i, y = diagonal - x;
      if (x < kSize && y < kSize) scan[n++] = static_cast<std::uint8_t>(y * kSize + x);
    }
  }
  return scan;
}

inline constexpr Scan4x4 kZigzag4x4 = zigzag_scan<4>();
inline constexpr Scan8x8 kZigzag8x8 = zigzag_scan<8>();

inline constexpr Scan4x4 kField4x4 = {0, 4, 1, 8, 12, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};

// Table 8-13, field scan
inline constexpr Scan8x8 kField8x8 = {0,  8,  16, 1,  9,  24, 32, 17, 2,  25, 40, 48, 56, 33, 10, 3,
                                      18, 41, 49, 57, 26, 11, 4,  19, 34, 42, 50, 58, 27, 12, 5,  20,
                                      35, 43, 51, 59, 28, 13, 6,  21, 36, 44, 52, 60, 29, 14, 22, 37,
                                      45, 53, 61, 30, 7,  15, 38, 46, 54, 62, 23, 31, 39, 47, 55, 63};

// The 8x8 scan of CAVLC, which codes every fourth coefficient as a 4x4 block of its own (7.3.5.3.2): the positions of
// the coefficients of the first such block, then of the second ...
constexpr Scan8x8 interleave(const Scan8x8& scan) {
  Scan8x8 out{};
  for (std::size_t block = 0; block < 4; ++block) {
    for (std::size_t k = 0; k < 16; ++k) out[block * 16 + k] = scan[4 * k + block];
  }
  return out;
}
inline constexpr Scan8x8 kZigzag8x8Cavlc = interleave(kZigzag8x8);
inline constexpr Scan8x8 kField8x8Cavlc = interleave(kField8x8);

// 4x4 block by luma4x4BlkIdx (6.4.3)
constexpr int block_x4(int index) { return (index & 1) | (index >> 1 & 2); }
constexpr int block_y4(int index) { return (index >> 1 & 1) | (index >> 2 & 2); }

}  // namespace ove::h264
