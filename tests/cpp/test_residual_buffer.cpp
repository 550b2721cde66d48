#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "codec/buffers.h"
#include "random.h"

using namespace ove;
using namespace ove::codec;

TEST_CASE("a recycled residual is zero outside the coded blocks of its picture") {
  Random random{std::mt19937(3)};
  const auto pool = std::make_shared<BufferPool<ResidualBuffer>>();
  PictureFormat format;
  for (int picture = 0; picture < 300; ++picture) {
    if (random(0, 9) == 0 || picture == 0) {
      format.width = 16 * random(1, 5);
      format.height = 16 * random(1, 6);
    }
    const bool packed = random(0, 9) == 0, whole = random(0, 3) == 0;
    const auto residual = pool->take(format, packed ? ResidualForm::kPacked : ResidualForm::kPlane);
    CHECK(residual->coded.empty());
    std::vector<std::int16_t> expected(static_cast<std::size_t>(format.width * format.height));
    if (packed) {
      std::fill_n(residual->samples.begin(), 64, std::int16_t{7});
      residual->packed = 64;
      residual->coded.push_back({0, 0, 2});
      continue;
    }
    if (whole) residual->clear_above();
    const int given_up = random(0, 4) == 0 ? random(0, 3) : format.height;  // the band where decoding ends
    for (int band = 0; band * 32 < format.height && band < given_up; ++band) {
      if (!whole) residual->clear_above(8 * (band + 1));
      for (int i = random(0, 12); i > 0; --i) {
        const int x4 = random(0, format.width / 4 - 1);
        const int y4 = random(8 * band, std::min(8 * band + 8, format.height / 4) - 1);
        residual->coded.push_back({static_cast<std::uint16_t>(x4), static_cast<std::uint16_t>(y4), 1});
        for (int y = 4 * y4; y < 4 * y4 + 4; ++y) {
          for (int x = 4 * x4; x < 4 * x4 + 4; ++x) {
            const auto at = static_cast<std::size_t>(y * format.width + x);
            expected[at] = residual->samples[at] = static_cast<std::int16_t>(random(-99, 99));
          }
        }
      }
    }
    if (given_up * 32 >= format.height) CHECK(std::equal(expected.begin(), expected.end(), residual->samples.begin()));
  }
}
