#include <doctest/doctest.h>

#include <random>
#include <stdexcept>
#include <vector>

#include "saliency/saliency.h"

using namespace ove;
using namespace ove::saliency;

namespace {

using Random = std::mt19937;

int draw(Random& random, int low, int high) { return std::uniform_int_distribution(low, high)(random); }

// Coded squares of a picture as a decoder leaves them: units of 32x32 samples row by row, each split like a tree.
void add_squares(Random& random, int x, int y, int size, int width, int height, std::vector<CodedSquare>& squares) {
  if (x >= width || y >= height) return;
  if (size > 4 && (x + size > width || y + size > height || draw(random, 0, 2) == 0)) {
    for (int i = 0; i < 4; ++i) {
      add_squares(random, x + i % 2 * size / 2, y + i / 2 * size / 2, size / 2, width, height, squares);
    }
  } else if (draw(random, 0, 2) > 0) {
    squares.push_back(
        {static_cast<std::uint16_t>(x / 4), static_cast<std::uint16_t>(y / 4), static_cast<std::uint16_t>(size / 4)});
  }
}

}  // namespace

TEST_CASE("scores of a packed residual are those of its plane, to the bit") {
  Random random(11);
  int compared = 0;
  for (int round = 0; round < 200; ++round) {
    const int width = 8 * draw(random, 1, 24), height = 8 * draw(random, 1, 20), depth = draw(random, 8, 12);
    std::vector<CodedSquare> squares;
    for (int y = 0; y < height; y += 32) {
      for (int x = 0; x < width; x += 32) add_squares(random, x, y, 32, width, height, squares);
    }
    std::vector<std::int16_t> plane(static_cast<std::size_t>(width) * height), packed;
    const int reach = draw(random, 0, 2) == 0 ? 32767 : 40 << (depth - 8);
    for (const CodedSquare& s : squares) {
      for (int y = 4 * s.y4; y < 4 * (s.y4 + s.size4); ++y) {
        for (int x = 4 * s.x4; x < 4 * (s.x4 + s.size4); ++x) {
          packed.push_back(static_cast<std::int16_t>(draw(random, -reach, reach)));
          plane[static_cast<std::size_t>(y) * width + x] = packed.back();
        }
      }
    }
    packed.push_back(0);  // so that there is an address
    std::vector<std::int16_t> mv(static_cast<std::size_t>(width / 4) * (height / 4) * 4);
    for (auto& value : mv) value = static_cast<std::int16_t>(draw(random, -60, 60));
    std::vector<std::uint8_t> pred(mv.size() / 4);
    for (auto& value : pred) value = static_cast<std::uint8_t>(draw(random, 0, 3));

    // Now and then all of the picture is shown, so that no square is cut.
    DisplayWindow window{0, 0, width, height, {draw(random, 0, 3), draw(random, 0, 1) == 1}};
    if (draw(random, 0, 2) > 0) {
      window.x = draw(random, 0, width - 1);
      window.y = draw(random, 0, height - 1);
      window.width = draw(random, 1, width - window.x);
      window.height = draw(random, 1, height - window.y);
    }
    const int patch = draw(random, 1, 9);
    const Geometry geometry = make_geometry(window.display_width(), window.display_height(),
                                            static_cast<Resize>(draw(random, 0, 2)), patch * draw(random, 1, 7), patch);
    HeatParams params;
    params.mv_weight = draw(random, 0, 1) * 0.3;
    params.residual_weight = 0.7;
    params.percentile = draw(random, 0, 100);
    params.vector = draw(random, 0, 1) ? VectorMode::kL0 : VectorMode::kBoth;
    params.clip_scope = draw(random, 0, 3) == 0;
    params.accumulate = static_cast<Accumulate>(draw(random, 0, 2));
    const bool accumulates = params.accumulate != Accumulate::kNone;
    if (accumulates && draw(random, 0, 1) == 1) params.fuse = Fuse::kMax;  // not linear

    PictureView by_plane;
    by_plane.width = width;
    by_plane.height = height;
    by_plane.bit_depth = depth;
    by_plane.mv = mv.data();
    by_plane.pred = pred.data();
    by_plane.coded = squares;
    PictureView by_block = by_plane;
    by_plane.residual = plane.data();
    by_block.packed_residual = packed.data();

    const auto scores = [&](const PictureView& picture) {
      Saliency saliency(params, window, geometry);
      REQUIRE(saliency.takes_packed());
      const auto accumulate = [&] {
        for (int i = 0; accumulates && i < 2; ++i) saliency.accumulate(picture);
      };
      accumulate();
      if (params.clip_scope) {
        saliency.measure(picture);
        accumulate();
      }
      std::vector<float> sums(static_cast<std::size_t>(geometry.rows) * geometry.columns);
      saliency.score(picture, sums);
      REQUIRE(saliency.scales().residual > 0);
      return std::pair(sums, saliency.scales().residual);
    };
    const auto expected = scores(by_plane);
    REQUIRE(scores(by_block) == expected);
    compared += expected.first.front() > 0;
  }
  CHECK(compared > 100);
}

TEST_CASE("where the plane is needed, a packed residual is refused") {
  const DisplayWindow window{0, 0, 32, 32, {}};
  const Geometry geometry = make_geometry(32, 32, Resize::kCrop, 32, 8);
  const std::vector<std::int16_t> samples(16, 5), mv(8 * 8 * 4);
  const std::vector<CodedSquare> squares = {{0, 0, 1}};
  PictureView picture;
  picture.width = picture.height = 32;
  picture.mv = mv.data();
  picture.coded = squares;
  picture.packed_residual = samples.data();
  std::vector<float> scores(16), canvas(32 * 32);
  HeatParams params;
  Saliency linear(params, window, geometry);
  CHECK_NOTHROW(linear.score(picture, scores));
  CHECK_THROWS_AS(linear.heat(picture, canvas), std::logic_error);
  for (int kind = 0; kind < 3; ++kind) {
    HeatParams other = params;
    if (kind == 0) other.fuse = Fuse::kMax;
    if (kind == 1) other.compensate = Compensate::kSimilarity;
    if (kind == 2) other.quantize = true;
    Saliency saliency(other, window, geometry);
    CHECK_FALSE(saliency.takes_packed());
    CHECK_THROWS_AS(saliency.score(picture, scores), std::logic_error);
  }
}
