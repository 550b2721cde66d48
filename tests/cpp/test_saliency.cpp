#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <random>
#include <utility>
#include <vector>

#include "saliency/camera.h"
#include "saliency/order_statistics.h"
#include "saliency/ranking.h"
#include "saliency/residual.h"
#include "saliency/saliency.h"
#include "saliency/sample_rows.h"
#include "saliency/vector_rows.h"

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

TEST_CASE("percentiles of many floats are those of the sorted values, wherever a sample of them points") {
  std::mt19937 random(4);
  std::normal_distribution<float> normal(0, 40);
  PercentileFinder finder;
  TwoPassPercentile two_pass;
  for (int kind = 0; kind < 5; ++kind) {
    std::vector<float> values(20000);
    for (std::size_t i = 0; i < values.size(); ++i) {
      switch (kind) {
        case 0:
          values[i] = normal(random);
          break;
        case 1:
          values[i] = std::round(normal(random) / 50);
          break;
        case 2:  // what an even stride sees is not what there is
          values[i] = i % 9 == 4 ? 1000 + normal(random) : normal(random);
          break;
        case 3:
          values[i] = 7;
          break;
        default:
          values[i] = static_cast<float>(i);
      }
    }
    for (const double q : {0.0, 0.01, 50.0, 88.9, 95.0, 99.99, 100.0}) {
      const double expected = sorted_percentile(values, q);
      CHECK(finder.find(values, q) == doctest::Approx(expected).epsilon(1e-12));
      two_pass.begin();
      two_pass.first_pass(values);
      two_pass.between(q);
      two_pass.second_pass(values);
      CHECK(two_pass.result() == doctest::Approx(expected).epsilon(1e-12));
    }
  }
}

TEST_CASE("values of a two-pass percentile count as often as they weigh") {
  const std::vector<float> values = {0, 0, 0, 2, 2, 2, 2, 2, 3}, once = {3}, thrice = {0}, five = {2};
  TwoPassPercentile two_pass;
  for (const double q : {0.0, 25.0, 30.0, 60.0, 95.0, 100.0}) {
    two_pass.begin();
    two_pass.first_pass(once);
    two_pass.first_pass(thrice, 3);
    two_pass.first_pass(five, 5);
    two_pass.between(q);
    two_pass.second_pass(five, 5);
    two_pass.second_pass(once);
    two_pass.second_pass(thrice, 3);
    CHECK(two_pass.result() == doctest::Approx(sorted_percentile(values, q)));
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

TEST_CASE("samples under a camera that turns, and their percentiles, are those of the whole map") {
  std::mt19937 random(6);
  const auto draw = [&](double low, double high) {
    return static_cast<float>(std::uniform_real_distribution(low, high)(random));
  };
  for (int round = 0; round < 120; ++round) {
    const int phase_x = round % 4, phase_y = round / 4 % 4, width = 1 + static_cast<int>(draw(0, 150)),
              height = 1 + static_cast<int>(draw(0, 90));
    const BlockGrid grid{(phase_x + width + 3) / 4, (phase_y + height + 3) / 4, phase_x, phase_y, width, height};
    const std::size_t blocks = static_cast<std::size_t>(grid.columns) * grid.rows;
    MotionField field;
    const int lists = round % 3 == 0 ? 2 : 1;
    for (int i = 0; i < lists; ++i) {
      field.lists[i].x.resize(blocks);
      field.lists[i].y.resize(blocks);
      for (float& value : field.lists[i].x) value = std::round(draw(-20, 20)) / 4;
      for (float& value : field.lists[i].y) value = std::round(draw(-9, 9)) / 4;
      // From none over one that only pans to one that turns fast.
      const double turn = std::vector<double>{0, 1e-12, 0.01, 0.5, 30}[static_cast<std::size_t>(round / 12 % 5)];
      field.cameras[i] = {draw(-3, 3), draw(-turn, turn), draw(-turn, turn),
                          draw(-3, 3), draw(-turn, turn), draw(-turn, turn)};
    }
    if (lists > 1) {
      field.used.resize(blocks);
      for (auto& used : field.used) used = static_cast<std::uint8_t>(random() % 4);
    }
    const std::vector<float> u = unit_coordinates(width), v = unit_coordinates(height);
    std::vector<float> map;
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        const std::size_t block = static_cast<std::size_t>((y + phase_y) / 4) * grid.columns + (x + phase_x) / 4;
        const auto length = [&](int i) {
          const Camera& c = field.cameras[i];
          return std::hypot(field.lists[i].x[block] - (c.x0 + c.xx * u[x] + c.xy * v[y]),
                            field.lists[i].y[block] - (c.y0 + c.yx * u[x] + c.yy * v[y]));
        };
        const int used = lists > 1 ? field.used[block] : 1;
        map.push_back(used == 3 ? std::max(length(0), length(1)) : length(used == 2));
      }
    }
    SampleRows rows(grid, 0, false);
    rows.begin(field);
    std::vector<float> energies(width);
    for (int y = 0; y < height; ++y) {
      const int begin = width / 3;
      rows.energies(y, begin, width, 0.2f, 0.5f, energies.data() + begin);
      for (int x = begin; x < width; ++x) {
        const float value = map[static_cast<std::size_t>(y) * width + x];
        REQUIRE(rows.row(y, x, x + 1)[x] == doctest::Approx(value).epsilon(1e-4));
        REQUIRE(energies[x] == doctest::Approx(0.5f * std::min(0.2f * value, 1.0f)).epsilon(1e-4));
      }
    }
    for (const double q : {0.0, 50.0, 95.0, 100.0}) {
      REQUIRE(rows.percentile(q) == doctest::Approx(sorted_percentile(map, q)).epsilon(1e-4));
    }
  }
}

TEST_CASE("residual levels follow the coded squares, or the samples where these are not known") {
  std::mt19937 random(7);
  const auto draw = [&](int low, int high) { return std::uniform_int_distribution(low, high)(random); };
  for (int round = 0; round < 150; ++round) {
    const int width = 4 * draw(1, 40), height = 4 * draw(1, 30), depth = draw(8, 12);
    DisplayWindow window{draw(0, width - 1), draw(0, height - 1), 0, 0, {}};
    window.width = draw(1, width - window.x);
    window.height = draw(1, height - window.y);
    std::vector<std::int16_t> residual(static_cast<std::size_t>(width) * height);
    std::vector<CodedSquare> squares;
    for (int n = draw(0, 12); n > 0; --n) {
      const int size = 1 << draw(0, 3), x4 = draw(0, width / 4 - 1), y4 = draw(0, height / 4 - 1);
      if (4 * (x4 + size) > width || 4 * (y4 + size) > height) continue;
      squares.push_back(
          {static_cast<std::uint16_t>(x4), static_cast<std::uint16_t>(y4), static_cast<std::uint16_t>(size)});
      const int reach = draw(0, 2) == 0 ? 32767 : 40 << (depth - 8);
      for (int y = 4 * y4; y < 4 * (y4 + size); ++y) {
        for (int x = 4 * x4; x < 4 * (x4 + size); ++x) {
          residual[static_cast<std::size_t>(y) * width + x] = static_cast<std::int16_t>(draw(-reach - 1, reach));
        }
      }
    }
    PictureView picture;
    picture.width = width;
    picture.height = height;
    picture.bit_depth = depth;
    picture.residual = residual.data();
    std::vector<float> expected;
    for (int y = window.y; y < window.y + window.height; ++y) {
      for (int x = window.x; x < window.x + window.width; ++x) {
        const int scaled = residual[static_cast<std::size_t>(y) * width + x] >> (depth - 8);
        expected.push_back(static_cast<float>(std::abs(std::clamp(scaled, -128, 127))));
      }
    }
    CodedResidual coded(window);
    for (const bool known : {false, true}) {
      picture.coded.reset();
      if (known) picture.coded = squares;
      coded.read(picture);
      std::vector<float> sums(expected.size(), 1.0f);
      for (int y = 0; y < window.height; ++y) {
        const int begin = window.width / 5, end = window.width - window.width / 7;
        add_level_energies(coded.levels(y), coded.runs(y), {begin, end}, 0.125f, 2.0f,
                           sums.data() + static_cast<std::size_t>(y) * window.width + begin);
        for (int x = 0; x < window.width; ++x) {
          const std::size_t i = static_cast<std::size_t>(y) * window.width + x;
          const float energy = x < begin || x >= end ? 0.0f : 2.0f * std::min(0.125f * expected[i], 1.0f);
          REQUIRE(sums[i] == 1.0f + energy);
        }
      }
      ResidualHistogram histogram{};
      coded.count(histogram);
      for (const double q : {0.0, 50.0, 90.0, 95.0, 99.0, 100.0}) {
        REQUIRE(coded.percentile(q) == doctest::Approx(sorted_percentile(expected, q)));
        REQUIRE(percentile(histogram, q) == doctest::Approx(sorted_percentile(expected, q)));
      }
    }
  }
}

TEST_CASE("loops over rows do what they say for every length") {
  std::mt19937 random(8);
  const auto draw = [&](int low, int high) { return std::uniform_int_distribution(low, high)(random); };
  for (std::size_t n = 0; n < 90; ++n) {
    std::vector<std::int16_t> mv(4 * n + 1);
    std::vector<std::uint8_t> pred(n), bytes(n);
    for (auto& value : mv) value = static_cast<std::int16_t>(draw(0, 2) == 0 ? 0 : draw(-32768, 32767));
    for (auto& value : pred) value = static_cast<std::uint8_t>(draw(0, 3));
    for (auto& value : bytes) value = static_cast<std::uint8_t>(draw(0, 255));
    // Vectors need no alignment beyond that of their numbers.
    std::copy_backward(mv.begin(), mv.end() - 1, mv.end());
    const std::int16_t* vectors = mv.data() + 1;
    std::vector<float> x(n), y(n);
    for (const int list : {0, 1}) {
      choose_vectors(vectors, pred.data(), n, list, list == 0, x.data(), y.data());
      for (std::size_t i = 0; i < n; ++i) {
        const int from = (pred[i] >> list & 1) != 0 ? list : list == 0 && (pred[i] & 2) != 0 ? 1 : -1;
        REQUIRE(x[i] == (from < 0 ? 0.0f : static_cast<float>(vectors[4 * i + 2 * from]) / 4));
        REQUIRE(y[i] == (from < 0 ? 0.0f : static_cast<float>(vectors[4 * i + 2 * from + 1]) / 4));
      }
      Camera camera;
      camera.x0 = -3.25f;
      camera.y0 = 7.5f;
      std::vector<float> length(n);
      chosen_magnitudes(vectors, pred.data(), n, list, list == 0, camera, length.data());
      for (std::size_t i = 0; i < n; ++i) REQUIRE(length[i] == magnitude(x[i], y[i], camera));
    }
    std::vector<std::int8_t> ref_idx(2 * n);
    for (auto& value : ref_idx) value = static_cast<std::int8_t>(draw(-1, 15));
    pred_of_indices(ref_idx.data(), n, pred.data());
    for (std::size_t i = 0; i < n; ++i) REQUIRE(pred[i] == ((ref_idx[2 * i] >= 0) | (ref_idx[2 * i + 1] >= 0) << 1));
    used_lists(vectors, n, pred.data());
    for (std::size_t i = 0; i < n; ++i) {
      const std::int16_t* v = vectors + 4 * i;
      REQUIRE(pred[i] == ((v[0] != 0 || v[1] != 0) | (v[2] != 0 || v[3] != 0) << 1));
    }
    std::vector<float> values(n), out(4 * n + 4, -1.0f);
    for (auto& value : values) value = static_cast<float>(draw(-40, 40)) / 8;
    std::size_t smaller = 0, inside = 0;
    count_around(values.data(), n, -1.0f, 2.0f, smaller, inside);
    CHECK(smaller == std::count_if(values.begin(), values.end(), [](float v) { return v < -1; }));
    CHECK(inside == std::count_if(values.begin(), values.end(), [](float v) { return v >= -1 && v <= 2; }));
    CHECK(largest(values.data(), n, -9.0f) == (n == 0 ? -9.0f : *std::max_element(values.begin(), values.end())));
    std::vector<float> zeros(n);
    CHECK(count_moving(values.data(), zeros.data(), n) ==
          n - static_cast<std::size_t>(std::count(values.begin(), values.end(), 0.0f)));
    repeat4(values.data(), n, out.data());
    for (std::size_t i = 0; i < 4 * n; ++i) REQUIRE(out[i] == values[i / 4]);
    std::vector<std::uint8_t> many;
    while (many.size() < 40 * n) many.insert(many.end(), bytes.begin(), bytes.end());
    const std::uint8_t bounds[4] = {0, 10, 128, 254};
    std::uint64_t above[4];
    count_above(many.data(), many.size(), bounds, above);
    for (int i = 0; i < 4; ++i) {
      CHECK(above[i] ==
            static_cast<std::uint64_t>(std::count_if(many.begin(), many.end(), [&](int b) { return b > bounds[i]; })));
    }
    for (const int taps : {2, 4}) {
      std::vector<std::int32_t> first(n);
      std::vector<float> weight(n * static_cast<std::size_t>(taps)), sums(n);
      for (auto& at : first) at = draw(0, static_cast<int>(4 * n));
      for (auto& value : weight) value = static_cast<float>(draw(-8, 8)) / 4;
      std::fill(out.begin() + static_cast<std::ptrdiff_t>(4 * n), out.end(), 3.0f);
      std::vector<float> longer = out;
      longer.resize(out.size() + 4, 5.0f);
      resample(longer.data(), first.data(), weight.data(), taps, n, sums.data());
      for (std::size_t i = 0; i < n; ++i) {
        float sum = 0;
        for (int k = 0; k < taps; ++k) sum += weight[i * taps + k] * longer[first[i] + k];
        REQUIRE(sums[i] == sum);  // quarters and eighths add up exactly
      }
    }
    std::vector<float> row(n);
    for (std::size_t i = 0; i < n; ++i) row[i] = std::abs(values[i]) * 70;
    saturate(n, row.data());
    for (std::size_t i = 0; i < n; ++i) REQUIRE(row[i] == std::nearbyint(std::min(std::abs(values[i]) * 70, 255.0f)));
    std::vector<float> prior(n, 0.5f), once(n), twice(n);
    for (std::size_t i = 0; i < n; ++i) once[i] = twice[i] = std::abs(values[i]) / 4;
    apply_prior_and_quantize(prior.data(), n, 0.3f, once.data());
    apply_prior(prior.data(), n, 0.3f, twice.data());
    quantize(n, twice.data());
    for (std::size_t i = 0; i < n; ++i) {
      REQUIRE(once[i] == twice[i]);
      REQUIRE(once[i] == std::floor(255.0f * std::min(std::abs(values[i]) / 4 * (1.0f + 0.3f * 0.5f), 1.0f)));
    }
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
  params.budget = 4;
  params.keep_first_frame = true;
  params.first_frame_share = 0.5;
  CHECK(keep_patches({scores, 2, 4, 10, valid, none}, params) == std::vector<std::uint8_t>{0, 1, 1, 0, 1, 1, 0, 0});
  params = {};
  params.tau = 0.5;
  CHECK(keep_patches({scores, 2, 4, 10, valid, none}, params) == std::vector<std::uint8_t>{0, 0, 0, 0, 0, 1, 0, 0});
}

TEST_CASE("displacements by the indices of references are those by their order counts, to the bit") {
  std::mt19937 random(12);
  const auto draw = [&](int low, int high) { return std::uniform_int_distribution(low, high)(random); };
  for (int round = 0; round < 100; ++round) {
    const int columns = draw(1, 40), rows = draw(1, 12);
    PictureView by_poc;
    by_poc.width = 4 * columns;
    by_poc.height = 4 * rows;
    by_poc.poc = draw(-20, 20);
    std::array<std::vector<std::int32_t>, 2> lists;
    for (auto& list : lists) {
      for (int i = draw(0, 4); i > 0; --i)
        list.push_back(draw(0, 9) == 0 ? draw(-2000000000, 2000000000) : draw(-9, 9));
    }
    const std::size_t blocks = static_cast<std::size_t>(columns) * rows;
    std::vector<std::int16_t> mv(4 * blocks);
    std::vector<std::int8_t> ref_idx(2 * blocks);
    std::vector<std::int32_t> ref_poc(2 * blocks);
    for (std::size_t i = 0; i < 2 * blocks; ++i) {
      const auto& list = lists[i % 2];
      const bool as_before = i > 1 && draw(0, 9) > 0;
      ref_idx[i] = static_cast<std::int8_t>(as_before ? ref_idx[i - 2] : draw(-1, static_cast<int>(list.size()) - 1));
      if (ref_idx[i] < 0) continue;
      ref_poc[i] = list[static_cast<std::size_t>(ref_idx[i])];
      for (std::size_t k = 0; k < 2; ++k) {
        mv[2 * i + k] = static_cast<std::int16_t>(draw(0, 4) == 0 ? draw(-32768, 32767) : draw(-9, 9));
      }
    }
    by_poc.mv = mv.data();
    by_poc.ref_idx = ref_idx.data();
    PictureView by_index = by_poc;
    by_poc.ref_poc = ref_poc.data();
    by_index.list_poc = &lists;

    HeatParams params;
    params.residual_weight = 0;
    params.vector = VectorMode::kDisplacement;
    params.compensate = draw(0, 1) == 1 ? Compensate::kMedian : Compensate::kNone;
    params.accumulate = static_cast<Accumulate>(draw(0, 2));
    const DisplayWindow window{draw(0, 3), draw(0, 3), by_poc.width - 3, by_poc.height - 3, {}};
    const Geometry geometry = make_geometry(window.width, window.height, Resize::kStretch, 28, 14);
    const auto scores = [&](const PictureView& picture) {
      Saliency saliency(params, window, geometry);
      for (int i = 0; params.accumulate != Accumulate::kNone && i < 2; ++i) saliency.accumulate(picture);
      std::vector<float> sums(4);
      saliency.score(picture, sums);
      return std::pair(sums, saliency.scales().motion);
    };
    REQUIRE(scores(by_index) == scores(by_poc));
  }
}

TEST_CASE("patch sums of the linear path equal the sums over the rendered canvas") {
  std::mt19937 random(3);
  const auto draw = [&](int low, int high) { return std::uniform_int_distribution(low, high)(random); };
  for (int round = 0; round < 200; ++round) {
    const int width = draw(1, 90), height = draw(1, 90), side = 8 << draw(0, 3);
    DisplayWindow window{draw(0, width - 1), draw(0, height - 1), 0, 0, {draw(0, 3), draw(0, 1) == 1}};
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
    params.intra_blocks = static_cast<IntraBlocks>(draw(0, 3));
    params.accumulate = static_cast<Accumulate>(draw(0, 2));
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
    std::vector<std::uint8_t> pred(mv.size() / 4);
    for (auto& value : pred) value = static_cast<std::uint8_t>(draw(0, 3));
    picture.mv = mv.data();
    picture.pred = pred.data();
    picture.residual = residual.data();
    picture.bits = bits.data();
    std::vector<std::int16_t> other_residual(residual.rbegin(), residual.rend());
    PictureView earlier = picture;
    earlier.residual = other_residual.data();

    Saliency saliency(params, window, geometry);
    std::vector<float> scores(static_cast<std::size_t>(geometry.rows) * geometry.columns);
    std::vector<float> canvas(static_cast<std::size_t>(geometry.canvas_width()) * geometry.canvas_height());
    const auto before = [&] {
      if (params.accumulate == Accumulate::kNone) return;
      for (int i = 0; i < 2; ++i) saliency.accumulate(earlier);
    };
    before();
    saliency.score(picture, scores);
    before();
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
