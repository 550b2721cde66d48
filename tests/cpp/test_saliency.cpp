#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "saliency/camera.h"
#include "saliency/order_statistics.h"
#include "saliency/ranking.h"
#include "saliency/saliency.h"

using namespace ove;
using namespace ove::saliency;

namespace {

double sorted_percentile(std::vector<float> values, double q) {
  std::sort(values.begin(), values.end());
  const double position = q / 100 * static_cast<double>(values.size() - 1);
  const auto low = static_cast<std::size_t>(position);
  const auto high = std::min(low + 1, values.size() - 1);
  return values[low] + (position - std::floor(position)) * (static_cast<double>(values[high]) - values[low]);
}

}  // namespace

TEST_CASE("percentiles of floats are those of the sorted values") {
  std::mt19937 random(1);
  for (const int n : {1, 2, 3, 64, 1000}) {
    for (const bool coarse : {false, true}) {
      std::vector<float> values(n);
      std::normal_distribution<float> normal(0, 40);
      for (float& value : values) value = coarse ? std::round(normal(random) / 50) : normal(random);
      for (const double q : {0.0, 5.0, 50.0, 94.9, 95.0, 99.0, 100.0}) {
        CHECK(percentile(values, q) == doctest::Approx(sorted_percentile(values, q)).epsilon(1e-12));
      }
    }
  }
  CHECK(percentile(std::vector<float>{}, 95) == 0);
}

TEST_CASE("percentiles of counts are those of the repeated values") {
  const std::vector<std::uint64_t> counts = {3, 0, 5, 1};
  const std::vector<float> values = {0, 0, 0, 2, 2, 2, 2, 2, 3};
  std::vector<std::pair<float, std::uint64_t>> pairs = {{3.0f, 1}, {0.0f, 3}, {2.0f, 5}};
  for (const double q : {0.0, 25.0, 30.0, 60.0, 95.0, 100.0}) {
    CHECK(percentile(counts, q) == doctest::Approx(sorted_percentile(values, q)));
    CHECK(percentile(pairs, q) == doctest::Approx(sorted_percentile(values, q)));
  }
}

TEST_CASE("a magnitude histogram is exact to 2^-17") {
  std::mt19937 random(2);
  std::lognormal_distribution<float> lognormal(0, 6);
  std::vector<float> values(5000);
  MagnitudeHistogram histogram;
  for (float& value : values) {
    value = lognormal(random);
    histogram.add(value);
  }
  for (const double q : {0.0, 10.0, 50.0, 95.0, 100.0}) {
    CHECK(histogram.percentile(q) == doctest::Approx(sorted_percentile(values, q)).epsilon(std::ldexp(1, -17)));
  }
  CHECK(MagnitudeHistogram().percentile(50) == 0);
}

TEST_CASE("a camera that zooms and turns is found under moving objects") {
  const BlockGrid grid{40, 30, 0, 0, 160, 120};
  VectorField field{std::vector<float>(1200), std::vector<float>(1200)};
  for (int row = 0; row < 30; ++row) {
    for (int column = 0; column < 40; ++column) {
      const float u = static_cast<float>(-1 + 2 * (column * 4 + 1.5) / 159),
                  v = static_cast<float>(-1 + 2 * (row * 4 + 1.5) / 119);
      const bool object = row < 6 && column < 8;
      field.x[row * 40 + column] = object ? -30.0f : 2 + 3 * u - 1.5f * v;
      field.y[row * 40 + column] = object ? 25.0f : -1 + 1.5f * u + 3 * v;
    }
  }
  for (const Compensate compensate : {Compensate::kSimilarity, Compensate::kAffine}) {
    const Camera camera = fit_camera(field, grid, compensate);
    CHECK(camera.x0 == doctest::Approx(2).epsilon(0.02));
    CHECK(camera.y0 == doctest::Approx(-1).epsilon(0.02));
    CHECK(camera.xx == doctest::Approx(3).epsilon(0.02));
    CHECK(camera.yx == doctest::Approx(1.5).epsilon(0.02));
    CHECK(camera.xy == doctest::Approx(-1.5).epsilon(0.02));
    CHECK(camera.yy == doctest::Approx(3).epsilon(0.02));
  }
}

TEST_CASE("patches rank by class, score and place") {
  const std::vector<float> scores = {1, 5, 5, 0, /* t = 1 */ 5, 9, 5, 5};
  const std::vector<std::uint8_t> valid = {1, 1, 1, 0}, none = {0, 0}, second = {0, 1};
  RankingParams params;
  params.budget = 3;
  CHECK(keep_patches({scores, 2, 4, 10, valid, none}, params) == std::vector<std::uint8_t>{0, 1, 1, 0, 0, 1, 0, 0});
  params.keep_first_frame = true;
  params.budget = 4;
  CHECK(keep_patches({scores, 2, 4, 10, valid, none}, params) == std::vector<std::uint8_t>{1, 1, 1, 0, 0, 1, 0, 0});
  params.pad = true;
  CHECK(keep_patches({scores, 2, 4, 10, valid, second}, params) == std::vector<std::uint8_t>{1, 1, 1, 1, 0, 0, 0, 0});
  params = {};
  params.tau = 0.5;
  CHECK(keep_patches({scores, 2, 4, 10, valid, none}, params) == std::vector<std::uint8_t>{0, 0, 0, 0, 0, 1, 0, 0});
}

TEST_CASE("patch sums of the linear path equal the sums over the rendered canvas") {
  std::mt19937 random(3);
  const auto draw = [&](int low, int high) { return std::uniform_int_distribution(low, high)(random); };
  for (int round = 0; round < 200; ++round) {
    const int width = draw(1, 90), height = draw(1, 90), side = 8 << draw(0, 3);
    DisplayWindow window{draw(0, width - 1), draw(0, height - 1), 0, 0, draw(0, 3)};
    window.width = draw(1, width - window.x);
    window.height = draw(1, height - window.y);
    const int patch = draw(1, 9), size = draw(patch, 60);
    const auto resize = static_cast<Resize>(draw(0, 2));
    const Geometry geometry = make_geometry(window.display_width(), window.display_height(), resize, size, patch);
    HeatParams params;
    params.bits_weight = draw(0, 1);
    params.compensate = static_cast<Compensate>(draw(0, 4));
    params.local_variance = draw(0, 2) == 0 ? 3 : 0;
    params.reference_motion = draw(0, 1) == 1;
    PictureView picture;
    picture.width = width;
    picture.height = height;
    std::vector<std::int16_t> mv(static_cast<std::size_t>(picture.block_rows()) * picture.block_columns() * 4);
    std::vector<std::int16_t> residual(static_cast<std::size_t>(width) * height);
    picture.bits_rows = (height + side - 1) / side;
    picture.bits_columns = (width + side - 1) / side;
    picture.ctb_size = side;
    std::vector<std::int32_t> bits(static_cast<std::size_t>(picture.bits_rows) * picture.bits_columns);
    for (auto& value : mv) value = static_cast<std::int16_t>(draw(-60, 60));
    for (auto& value : residual) value = static_cast<std::int16_t>(draw(0, 3) == 0 ? draw(-300, 300) : 0);
    for (auto& value : bits) value = draw(0, 5000);
    picture.mv = mv.data();
    picture.residual = residual.data();
    picture.bits = bits.data();

    Saliency saliency(params, window, geometry);
    std::vector<float> scores(static_cast<std::size_t>(geometry.rows) * geometry.columns);
    std::vector<float> canvas(static_cast<std::size_t>(geometry.canvas_width()) * geometry.canvas_height());
    saliency.score(picture, scores);
    saliency.heat(picture, canvas);
    for (int row = 0; row < geometry.rows; ++row) {
      for (int column = 0; column < geometry.columns; ++column) {
        double sum = 0;
        for (int y = row * patch; y < (row + 1) * patch; ++y) {
          for (int x = column * patch; x < (column + 1) * patch; ++x) {
            sum += static_cast<double>(canvas[static_cast<std::size_t>(y) * geometry.canvas_width() + x]);
          }
        }
        REQUIRE(static_cast<double>(scores[row * geometry.columns + column]) == doctest::Approx(sum).epsilon(1e-4));
      }
    }
  }
}
