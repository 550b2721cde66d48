#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <random>
#include <vector>

#include "h264/transform.h"

using namespace ove::h264;

namespace {

// 8.5.12.2 and 8.5.13.2, of one row or column
std::vector<int> plain_stage(const std::vector<int>& d) {
  if (d.size() == 4) {
    const int e = d[0] + d[2], f = d[0] - d[2], g = (d[1] >> 1) - d[3], h = d[1] + (d[3] >> 1);
    return {e + h, f + g, f - g, e - h};
  }
  const int e0 = d[0] + d[4], e1 = -d[3] + d[5] - d[7] - (d[7] >> 1), e2 = d[0] - d[4];
  const int e3 = d[1] + d[7] - d[3] - (d[3] >> 1), e4 = (d[2] >> 1) - d[6];
  const int e5 = -d[1] + d[7] + d[5] + (d[5] >> 1), e6 = d[2] + (d[6] >> 1), e7 = d[3] + d[5] + d[1] + (d[1] >> 1);
  const int f0 = e0 + e6, f1 = e1 + (e7 >> 2), f2 = e2 + e4, f3 = e3 + (e5 >> 2), f4 = e2 - e4, f5 = (e3 >> 2) - e5;
  const int f6 = e0 - e6, f7 = e7 - (e1 >> 2);
  return {f0 + f7, f2 + f5, f4 + f3, f6 + f1, f6 - f1, f4 - f3, f2 - f5, f0 - f7};
}

std::vector<int> plain_residual(std::vector<int> c, std::size_t size) {
  for (const bool columns : {false, true}) {
    for (std::size_t i = 0; i < size; ++i) {
      const auto at = [&](std::size_t k) -> int& { return columns ? c[k * size + i] : c[i * size + k]; };
      std::vector<int> line(size);
      for (std::size_t k = 0; k < size; ++k) line[k] = at(k);
      line = plain_stage(line);
      for (std::size_t k = 0; k < size; ++k) at(k) = line[k];
    }
  }
  for (int& v : c) v = std::clamp((v + 32) >> 6, -32768, 32767);
  return c;
}

}  // namespace

TEST_CASE("H.264 inverse transforms") {
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    const std::size_t size = round % 2 ? 4 : 8;
    const int most = 1 << (round % 23);
    std::uniform_int_distribution<int> value(-most, most);
    std::bernoulli_distribution kept(round % 5 * 0.25);
    alignas(16) std::array<std::int32_t, 64> c{};
    std::vector<int> copy(size * size);
    for (std::size_t i = 0; i < copy.size(); ++i) copy[i] = c[i] = kept(random) || i == 0 ? value(random) : 0;
    const std::vector<int> expected = plain_residual(copy, size);
    if (round % 5 == 0) REQUIRE(expected == std::vector<int>(size * size, transform_dc(copy[0])));
    std::array<std::int16_t, 8 * 11> out;
    out.fill(77);
    if (size == 4) {
      inverse_transform_4x4(c.data(), out.data(), 11);
    } else {
      (round % 4 ? inverse_transform_8x8 : fastest_transform_8x8())(c.data(), out.data(), 11);
    }
    for (std::size_t y = 0; y < 8; ++y) {
      for (std::size_t x = 0; x < 11; ++x) {
        REQUIRE(out[y * 11 + x] == (x < size && y < size ? expected[y * size + x] : 77));
      }
    }
    CHECK(std::all_of(c.begin(), c.end(), [](int v) { return v == 0; }));
  }
}

TEST_CASE("H.264 DC transform of Intra_16x16") {
  // A single level spreads over all blocks with the signs of the Hadamard matrix.
  constexpr int kMatrix[4][4] = {{1, 1, 1, 1}, {1, 1, -1, -1}, {1, -1, -1, 1}, {1, -1, 1, -1}};
  for (std::size_t place = 0; place < 16; ++place) {
    std::array<std::int32_t, 16> dc{};
    dc[place] = 3;
    inverse_luma_dc(dc, 160, 7);
    for (std::size_t i = 0; i < 16; ++i) {
      const int sign = kMatrix[place / 4][i / 4] * kMatrix[place % 4][i % 4];
      CHECK(dc[i] == sign * 3 * 160 * 2);
    }
    dc = {};
    dc[place] = 1;
    inverse_luma_dc(dc, 160, 0);
    for (std::size_t i = 0; i < 16; ++i) {
      CHECK(dc[i] == (kMatrix[place / 4][i / 4] * kMatrix[place % 4][i % 4] > 0 ? 3 : -2));  // 2.5 rounded up
    }
  }
}

TEST_CASE("H.264 transform bypass") {
  for (const BypassMode mode : {BypassMode::kNone, BypassMode::kVertical, BypassMode::kHorizontal}) {
    std::array<std::int32_t, 16> levels{};
    for (int i = 0; i < 16; ++i) levels[static_cast<std::size_t>(i)] = i - 5;
    std::array<std::int16_t, 16> out{};
    bypass_transform(levels.data(), 4, mode, out.data(), 4);
    for (int y = 0; y < 4; ++y) {
      for (int x = 0; x < 4; ++x) {
        int expected = y * 4 + x - 5;
        if (mode == BypassMode::kVertical) {
          for (int k = 0; k < y; ++k) expected += k * 4 + x - 5;
        } else if (mode == BypassMode::kHorizontal) {
          for (int k = 0; k < x; ++k) expected += y * 4 + k - 5;
        }
        CHECK(out[static_cast<std::size_t>(y * 4 + x)] == expected);
      }
    }
    CHECK(levels == std::array<std::int32_t, 16>{});
  }
}
