#include <doctest/doctest.h>

#include <vector>

#include "h264/neighbours.h"

using namespace ove::h264;

namespace {

// Row of a pair, 0 to 2 * height - 1, that a row of one of its macroblocks is shown in.
int shown_row(bool field, PairRow at, int height) { return field ? 2 * at.y + at.bottom : at.bottom * height + at.y; }

}  // namespace

TEST_CASE("the row left of a macroblock of a pair is the one beside it") {
  for (const int height : {16, 8}) {
    for (const bool field : {false, true}) {
      for (const bool left_field : {false, true}) {
        for (const int bottom : {0, 1}) {
          for (int y = 0; y < height; ++y) {
            const PairRow left = mbaff_left(field, bottom, left_field, y, height);
            CHECK(left.y >= 0);
            CHECK(left.y < height);
            CHECK(shown_row(left_field, left, height) == shown_row(field, {bottom, y}, height));
          }
        }
      }
    }
  }
}

TEST_CASE("the row above a macroblock of a pair is the last one, of its own parity in fields") {
  for (const int height : {16, 8}) {
    for (const bool above_field : {false, true}) {
      const auto above = [&](bool field, bool bottom) {
        return shown_row(above_field, mbaff_above(field, bottom, above_field, height), height);
      };
      CHECK(above(false, false) == 2 * height - 1);
      CHECK(above(true, false) == 2 * height - 2);
      CHECK(above(true, true) == 2 * height - 1);
      CHECK(shown_row(above_field, mbaff_above_left_inside(above_field, height), height) == height - 1);
    }
  }
}

TEST_CASE("macroblocks are neighbours in a slice") {
  CHECK(mb_position(7, 3, false).x == 1);
  CHECK(mb_position(7, 3, false).y == 2);
  CHECK(mb_position(7, 3, true).x == 0);
  CHECK(mb_position(7, 3, true).y == 3);

  // a slice from the middle of the first row on
  const std::vector<std::uint16_t> slices{0, 1, 1,  //
                                          1, 1, 1,  //
                                          1, 1, 1};
  const auto at = [&](int x, int y) { return mb_availability(slices, x, y, 3, false); };
  CHECK_FALSE(at(1, 0).a);
  CHECK_FALSE(at(1, 0).b);
  CHECK(at(2, 0).a);
  CHECK_FALSE(at(0, 1).b);
  CHECK(at(0, 1).c);
  CHECK_FALSE(at(0, 1).a);
  CHECK_FALSE(at(1, 1).d);
  CHECK_FALSE(at(2, 1).c);
  CHECK(at(2, 1).d);

  const std::vector<std::uint16_t> pairs{0, 1,  //
                                         0, 1,  //
                                         1, 1,  //
                                         1, 1};
  const MbAvailability below = mb_availability(pairs, 0, 2, 2, true);
  CHECK_FALSE(below.b);
  CHECK(below.c);
  CHECK_FALSE(mb_availability(pairs, 1, 0, 2, true).a);
}
