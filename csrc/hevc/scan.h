// Scan orders (6.5.3 to 6.5.5).
#pragma once

#include <array>
#include <cstdint>

namespace ove::hevc {

struct ScanPosition {
  std::uint8_t x, y;
};

enum ScanIdx { kScanDiagonal = 0, kScanHorizontal = 1, kScanVertical = 2 };

// 6.5.3 up-right diagonal
template <int kSize>
constexpr std::array<ScanPosition, kSize * kSize> diagonal_scan() {
  std::array<ScanPosition, kSize * kSize> scan{};
  std::size_t i = 0;
  for (int d = 0; d < 2 * kSize - 1; ++d) {
    for (int x = 0; x <= d; ++x) {
      const int y = d - x;
      if (x < kSize && y < kSize) scan[i++] = {static_cast<std::uint8_t>(x), static_cast<std::uint8_t>(y)};
    }
  }
  return scan;
}

// 6.5.4 horizontal and 6.5.5 vertical
template <int kSize>
constexpr std::array<ScanPosition, kSize * kSize> raster_scan(bool vertical) {
  std::array<ScanPosition, kSize * kSize> scan{};
  for (int i = 0; i < kSize * kSize; ++i) {
    const auto fast = static_cast<std::uint8_t>(i % kSize), slow = static_cast<std::uint8_t>(i / kSize);
    scan[static_cast<std::size_t>(i)] = vertical ? ScanPosition{slow, fast} : ScanPosition{fast, slow};
  }
  return scan;
}

}  // namespace ove::hevc
