#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <random>

#include "hevc/motion.h"

using namespace ove::hevc;

namespace {

// 8-179 to 8-183, component by component
int plain_scale(int mv, int td, int tb) {
  td = std::clamp(td, -128, 127);
  tb = std::clamp(tb, -128, 127);
  const int tx = (16384 + (std::abs(td) >> 1)) / td;
  const int factor = std::clamp((tb * tx + 32) >> 6, -4096, 4095);
  const int product = factor * mv;
  const int sign = product > 0 ? 1 : product < 0 ? -1 : 0;
  return std::clamp(sign * ((std::abs(product) + 127) >> 8), -32768, 32767);
}

}  // namespace

TEST_CASE("motion vectors scale by the distance of pictures") {
  CHECK(scale_mv({8, -8}, 2, 1) == Mv{4, -4});
  CHECK(scale_mv({5, 7}, 3, 3) == Mv{5, 7});
  CHECK(scale_mv({4, 0}, 1, -1) == Mv{-4, 0});
  std::mt19937 random(7);
  for (int round = 0; round < 5000; ++round) {
    const Mv mv{static_cast<std::int16_t>(random()), static_cast<std::int16_t>(random())};
    int td = static_cast<int>(random() % 401) - 200;
    if (td == 0) td = 1;
    const int tb = static_cast<int>(random() % 401) - 200;
    const Mv scaled = scale_mv(mv, td, tb);
    CHECK(scaled.x == plain_scale(mv.x, td, tb));
    CHECK(scaled.y == plain_scale(mv.y, td, tb));
  }
}
