#include "h264/scaling_list.h"

#include <cstddef>

namespace ove::h264 {

namespace {

// Table 7-3 and Table 7-4, in zig-zag order
constexpr std::array<std::array<std::uint8_t, 16>, 2> kDefault4{
    {{6, 13, 13, 20, 20, 20, 28, 28, 28, 28, 32, 32, 32, 37, 37, 42},
     {10, 14, 14, 20, 20, 20, 24, 24, 24, 24, 27, 27, 27, 30, 30, 34}}};
constexpr std::array<std::array<std::uint8_t, 64>, 2> kDefault8{
    {{6,  10, 10, 13, 11, 13, 16, 16, 16, 16, 18, 18, 18, 18, 18, 23, 23, 23, 23, 23, 23, 25,
      25, 25, 25, 25, 25, 25, 27, 27, 27, 27, 27, 27, 27, 27, 29, 29, 29, 29, 29, 29, 29, 31,
      31, 31, 31, 31, 31, 33, 33, 33, 33, 33, 36, 36, 36, 36, 38, 38, 38, 40, 40, 42},
     {9,  13, 13, 15, 13, 15, 17, 17, 17, 17, 19, 19, 19, 19, 19, 21, 21, 21, 21, 21, 21, 22,
      22, 22, 22, 22, 22, 22, 24, 24, 24, 24, 24, 24, 24, 24, 25, 25, 25, 25, 25, 25, 25, 27,
      27, 27, 27, 27, 27, 28, 28, 28, 28, 28, 30, 30, 30, 30, 32, 32, 32, 33, 33, 35}}};

// 8.5.6, 8.5.7: from zig-zag order to positions, also where macroblocks are fields
template <std::size_t kCount>
std::array<std::uint8_t, kCount> by_position(const std::array<std::uint8_t, kCount>& list) {
  constexpr int kSize = kCount == 16 ? 4 : 8;
  std::array<std::uint8_t, kCount> out{};
  std::size_t i = 0;
  for (int diagonal = 0; diagonal < 2 * kSize - 1; ++diagonal) {
    for (int step = 0; step <= diagonal; ++step) {
      const int row = diagonal % 2 ? step : diagonal - step;
      const int column = diagonal - row;
      if (row < kSize && column < kSize) out[static_cast<std::size_t>(row * kSize + column)] = list[i++];
    }
  }
  return out;
}

// 7.3.2.1.1.1. Nothing where the list says that the default one is to be used.
template <std::size_t kCount>
std::optional<std::array<std::uint8_t, kCount>> parse_list(BitReader& r) {
  std::array<std::uint8_t, kCount> list{};
  int last = 8, next = 8;
  for (std::size_t i = 0; i < kCount; ++i) {
    if (next != 0) {
      next = (last + r.se(-128, 127, "delta_scale") + 256) % 256;
      if (i == 0 && next == 0) return std::nullopt;
    }
    if (next != 0) last = next;
    list[i] = static_cast<std::uint8_t>(last);
  }
  return by_position(list);
}

}  // namespace

ScalingFactors flat_scaling_factors() {
  ScalingFactors factors;
  for (auto& list : factors.size4) list.fill(16);
  for (auto& list : factors.size8) list.fill(16);
  return factors;
}

ScalingFactors parse_scaling_lists(BitReader& r, int count8, const ScalingFactors* fall_back) {
  const ScalingFactors defaults{{by_position(kDefault4[0]), by_position(kDefault4[1])},
                                {by_position(kDefault8[0]), by_position(kDefault8[1])}};
  ScalingFactors factors = fall_back ? *fall_back : defaults;
  // Of three lists the first is that of luma, and no list of luma falls back on one of chroma.
  for (std::size_t i = 0; i < 6; ++i) {
    if (!r.flag()) continue;
    const auto list = parse_list<16>(r);
    if (i % 3 == 0) factors.size4[i / 3] = list.value_or(defaults.size4[i / 3]);
  }
  for (std::size_t i = 0; i < static_cast<std::size_t>(count8); ++i) {
    if (!r.flag()) continue;
    const auto list = parse_list<64>(r);
    if (i < 2) factors.size8[i] = list.value_or(defaults.size8[i]);
  }
  return factors;
}

}  // namespace ove::h264
