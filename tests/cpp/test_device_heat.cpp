// The GPU's way to scores, run on the CPU, against the CPU's own.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "common/geometry.h"
#include "cuda/heat.h"
#include "cuda/heat_tables.h"
#include "hevc/transform.h"
#include "host_executor.h"
#include "random.h"
#include "saliency/order_statistics.h"
#include "saliency/saliency.h"

using namespace ove;
using namespace ove::saliency;

namespace {

struct Source {
  int width, height, bit_depth, ctb_size;
  std::vector<std::int16_t> mv, residual;
  std::vector<std::uint8_t> pred;
  std::vector<std::int32_t> ref_poc, bits;
  std::vector<CodedSquare> coded;
  bool know_pred, know_coded, intra = false;

  PictureView view() const {
    PictureView v;
    v.width = width;
    v.height = height;
    v.bit_depth = bit_depth;
    v.intra = intra;
    v.mv = mv.data();
    v.pred = know_pred ? pred.data() : nullptr;
    v.ref_poc = ref_poc.data();
    v.poc = 100;
    v.residual = residual.data();
    if (know_coded) v.coded = coded;
    v.bits = bits.data();
    v.bits_rows = (height + ctb_size - 1) / ctb_size;
    v.bits_columns = (width + ctb_size - 1) / ctb_size;
    v.ctb_size = ctb_size;
    return v;
  }
};

// A camera that pans, objects, blocks without vectors, and a few coded blocks.
Source random_picture(Random& random, int width, int height, int bit_depth, int ctb_size, bool know_pred,
                      bool know_coded) {
  Source s{width, height, bit_depth, ctb_size, {}, {}, {}, {}, {}, {}, know_pred, know_coded};
  s.intra = random(0, 5) == 0;
  const int columns = (width + 3) / 4, rows = (height + 3) / 4, pan_x = random(-9, 9), pan_y = random(-9, 9);
  const int range = random.one_of({0, 2, 300});
  for (int block = 0; block < columns * rows; ++block) {
    const int pred = s.intra || random(0, 5) == 0 ? 0 : random(1, 3);
    for (int list = 0; list < 2; ++list) {
      const bool used = (pred >> list & 1) != 0;
      s.mv.push_back(static_cast<std::int16_t>(used ? pan_x + block % columns / 4 + random(-range, range) : 0));
      s.mv.push_back(static_cast<std::int16_t>(used ? pan_y - block / columns / 3 + random(-range, range) : 0));
      s.ref_poc.push_back(100 + random.one_of({-4, -2, -1, 1, 2, 0}));
    }
    s.pred.push_back(static_cast<std::uint8_t>(pred));
  }
  s.residual.assign(static_cast<std::size_t>(width) * height, 0);
  for (int y = 0; y + 8 <= height; y += 8) {
    for (int x = 0; x + 8 <= width; x += 8) {
      if (random(0, 3) != 0) continue;
      s.coded.push_back({static_cast<std::uint16_t>(x / 4), static_cast<std::uint16_t>(y / 4), 2});
      const int level = random.one_of({3, 40, 400}) << (bit_depth - 8);
      for (int i = 0; i < 64; ++i) {
        s.residual[static_cast<std::size_t>(y + i / 8) * width + x + i % 8] =
            static_cast<std::int16_t>(random(-level, level));
      }
    }
  }
  const int ctus = ((width + ctb_size - 1) / ctb_size) * ((height + ctb_size - 1) / ctb_size);
  for (int i = 0; i < ctus; ++i) s.bits.push_back(random(0, 4) == 0 ? 0 : random(1, 5000));
  return s;
}

HeatParams random_params(Random& random) {
  HeatParams p;
  p.interpolation = random.one_of({Interpolation::kBilinear, Interpolation::kBilinear, Interpolation::kCubic});
  p.percentile = random.one_of({0.0, 50.0, 95.0, 99.3, 100.0});
  p.clip_scope = random(0, 3) == 0;
  p.compensate = random.one_of(
      {Compensate::kNone, Compensate::kMedian, Compensate::kMean, Compensate::kSimilarity, Compensate::kAffine});
  p.vector = random.one_of({VectorMode::kL0, VectorMode::kL0ElseL1, VectorMode::kBoth, VectorMode::kDisplacement});
  p.fuse = random.one_of({Fuse::kWeighted, Fuse::kWeighted, Fuse::kWeighted, Fuse::kMax, Fuse::kSum, Fuse::kGeomean});
  p.mv_weight = random.one_of({0.0, 0.5, 1.0});
  p.residual_weight = random.one_of({0.0, 0.3, 0.5});
  p.bits_weight = random.one_of({0.0, 0.7});
  if (p.mv_weight + p.residual_weight + p.bits_weight == 0) p.mv_weight = 1;
  p.accumulate = random.one_of({Accumulate::kNone, Accumulate::kSum, Accumulate::kMax});
  p.zero_intra_pictures = random(0, 2) == 0;
  p.reference_motion = random(0, 2) == 0;
  p.intra_blocks = random.one_of({IntraBlocks::kAsCoded, IntraBlocks::kZero, IntraBlocks::kMedian, IntraBlocks::kMax});
  p.local_variance = random(0, 2) == 0 ? random.one_of({3, 5, 31}) : 0;
  p.center_prior = random(0, 2) == 0 ? 0.3 : 0.0;
  p.quantize = random(0, 2) == 0;
  return p;
}

struct DeviceResult {
  std::vector<float> scores, heat;  // heat of the last picture
};

// A picture that counts for sampled picture number `sampled`.
struct Counted {
  const Source* picture;
  std::int64_t sampled;
};

// Whether the heat of a picture is 0 whatever it holds.
bool is_off(const HeatParams& params, const Source& picture) { return params.zero_intra_pictures && picture.intra; }

// Scores of the `sampled` pictures that `counted` has, taken in up to `room` at a time where they accumulate.
DeviceResult device_scores(const HeatParams& params, const DisplayWindow& window, const Geometry& geometry,
                           const std::vector<Counted>& counted, std::int64_t sampled, std::int64_t room, bool watch) {
  const cuda::HeatPlan plan(params, window, geometry, counted[0].picture->ctb_size);
  const cuda::HeatTables& tables = plan.tables();
  if (!tables.accumulates()) room = sampled;
  cuda::HostMemory memory(std::byte{0xA5});
  cuda::Arena arena = memory.arena();
  const cuda::ClipArrays arrays(tables, room, arena);
  const cuda::ClipWork work(tables, room, sampled, arena);
  const std::size_t sums_begin = memory.parts().size();
  const cuda::ClipSums sums(tables, sampled, arena);
  DeviceResult result;
  result.scores.resize(static_cast<std::size_t>(sampled * tables.patches()));
  result.heat.resize(static_cast<std::size_t>(geometry.canvas_width()) * geometry.canvas_height());
  for (const auto& part : std::span(memory.parts()).subspan(sums_begin)) std::ranges::fill(part, std::byte{0});

  std::vector<std::span<std::byte>> written = memory.parts();
  for (std::vector<float>* out : {&result.scores, &result.heat}) {
    written.push_back(std::as_writable_bytes(std::span(*out)));
  }
  cuda::HostExecutor executor = watch ? cuda::HostExecutor(written) : cuda::HostExecutor();
  cuda::Clip clip{tables, plan.block().data(), arrays, work, sampled};
  std::vector<std::int64_t> waiting;
  const auto accumulate_waiting = [&] {
    clip.pictures = std::ssize(waiting);
    cuda::accumulate(executor, clip, sums, waiting);
    waiting.clear();
  };
  for (const auto& [picture, slot] : counted) {
    std::int64_t place = slot;
    if (tables.accumulates()) {
      if (std::ssize(waiting) == room) accumulate_waiting();
      place = std::ssize(waiting);
      waiting.push_back(slot);
    }
    std::vector<std::byte> record(static_cast<std::size_t>(tables.record.capacity));
    const cuda::RecordSizes sizes = plan.pack(picture->view(), nullptr, record.data());
    REQUIRE(sizes.bytes <= tables.record.capacity);
    record.resize(static_cast<std::size_t>(sizes.bytes));
    record.shrink_to_fit();
    cuda::take_in(executor, tables, plan.block().data(), sizes, record.data(), arrays, place);
  }
  if (tables.accumulates()) {
    accumulate_waiting();
    clip = clip.sampled(sums, sampled);
    cuda::find_scales(executor, clip);
  } else {
    cuda::measure(executor, clip);
  }
  cuda::score(executor, clip, result.scores.data());
  cuda::render(executor, clip, sampled - 1, result.heat.data());
  return result;
}

// Has `saliency` read the pictures, the last of them by `read`.
template <class Read>
void read_all(Saliency& saliency, const std::vector<Source>& pictures, Read read) {
  for (std::size_t i = 0; i + 1 < pictures.size(); ++i) saliency.accumulate(pictures[i].view());
  read(pictures.back().view());
}

}  // namespace

TEST_CASE("the steps of a GPU give the CPU's scores and heat") {
  Random random{std::mt19937(7)};
  int exact = 0, trials = 0;
  for (int trial = 0; trial < 500; ++trial) {
    CAPTURE(trial);
    const int width = random(13, 90), height = random(13, 70), ctb_size = random.one_of({16, 32, 64});
    DisplayWindow window{random(0, 4), random(0, 4), 0, 0, random(0, 3)};
    window.width = width - window.x - random(0, 2);
    window.height = height - window.y - random(0, 2);
    const HeatParams params = random_params(random);
    const Resize resize = random.one_of({Resize::kCrop, Resize::kLetterbox, Resize::kStretch, Resize::kNative});
    const int patch = random.one_of({4, 5});
    const Geometry geometry = make_geometry(window.display_width(), window.display_height(), resize, 20, patch);
    const int bit_depth = random.one_of({8, 10});
    const bool know_pred = params.intra_blocks != IntraBlocks::kAsCoded || random(0, 3) != 0,
               know_coded = random(0, 3) != 0;
    const bool several = params.accumulate != Accumulate::kNone;
    std::vector<std::vector<Source>>
        sampled;  // the pictures that count for each sampled one, which is the last of them
    for (int i = random(1, 3); i > 0; --i) {
      sampled.emplace_back();
      for (int k = several ? random(1, 4) : 1; k > 0; --k) {
        sampled.back().push_back(random_picture(random, width, height, bit_depth, ctb_size, know_pred, know_coded));
      }
    }
    std::vector<Counted> counted;  // what the GPU is given: sampled pictures without heat are left out
    std::int64_t hot = 0;
    for (const auto& pictures : sampled) {
      const std::size_t before = counted.size();
      for (const Source& picture : pictures) {
        if (!is_off(params, picture)) counted.push_back({&picture, hot});
      }
      hot += counted.size() > before;
    }
    if (hot == 0) continue;

    const DeviceResult device = device_scores(params, window, geometry, counted, hot, random(1, 5), trial % 10 == 0);

    Saliency saliency(params, window, geometry);
    const std::size_t patches = static_cast<std::size_t>(geometry.rows) * geometry.columns;
    std::vector<float> scores(patches), heat(device.heat.size());
    if (params.clip_scope) {
      for (const auto& pictures : sampled) {
        read_all(saliency, pictures, [&](const PictureView& view) { saliency.measure(view); });
      }
    }
    const float* got = device.scores.data();
    const std::vector<Source>* last = nullptr;
    for (const auto& pictures : sampled) {
      read_all(saliency, pictures, [&](const PictureView& view) { saliency.score(view, scores); });
      if (std::ranges::all_of(pictures, [&](const Source& picture) { return is_off(params, picture); })) {
        REQUIRE(std::ranges::count(scores, 0.0f) == std::ssize(scores));
        continue;
      }
      last = &pictures;
      for (std::size_t k = 0; k < patches; ++k, ++got) {
        // Where least squares add up in another order, the last bits of a camera may differ.
        REQUIRE(std::abs(*got - scores[k]) <= 1e-5 * std::abs(scores[k]) + 1e-5 * saliency.full_score() / 20);
        exact += *got == scores[k];
        ++trials;
      }
    }
    read_all(saliency, *last, [&](const PictureView& view) { saliency.heat(view, heat); });
    for (std::size_t k = 0; k < heat.size(); ++k) {
      REQUIRE(std::abs(device.heat[k] - heat[k]) <= (params.quantize ? 1.0f : 1e-5f));
    }
  }
  CHECK(exact > trials * 0.99);
}

TEST_CASE("values add up in the order of the pictures") {
  // 3 is lost beside 1e8, 6 is not.
  const float values[] = {3, 1e8f, 3, 3, 9};
  float sum[2] = {3, 0};
  std::uint8_t most[1] = {5};
  cuda::HostExecutor executor({std::as_writable_bytes(std::span(sum)), std::as_writable_bytes(std::span(most))});
  cuda::accumulate_values<float>(executor, Accumulate::kSum, {1, 4}, 2, sum,
                                 [&](std::int64_t p, std::int64_t) { return values[p]; });
  CHECK(sum[0] == 1e8f);
  CHECK(sum[1] == 1e8f);
  cuda::accumulate_values<float>(executor, Accumulate::kMax, {2, 5}, 1, most,
                                 [&](std::int64_t p, std::int64_t) { return values[p]; });
  CHECK(most[0] == 9);
}

TEST_CASE("steps whose parts race are told") {
  std::vector<int> values(8);
  cuda::HostExecutor executor({std::as_writable_bytes(std::span(values))});
  executor.for_each(8, [&](std::int64_t i) { values[static_cast<std::size_t>(i)] = static_cast<int>(i); });
  CHECK(values[7] == 7);
  CHECK_THROWS_AS(executor.for_each(8, [&](std::int64_t i) { values[0] = static_cast<int>(i); }), std::logic_error);
}

TEST_CASE("percentiles by digits are those of sorted values") {
  Random random{std::mt19937(5)};
  for (int trial = 0; trial < 200; ++trial) {
    CAPTURE(trial);
    const std::int64_t segments = random(1, 5), n = random(1, 400);
    const double q = random.one_of({0.0, 3.7, 50.0, 95.0, 99.9, 100.0});
    const bool whole = random(0, 1) == 1;
    std::vector<float> values;
    for (std::int64_t i = 0; i < segments * n; ++i) {
      const auto level = static_cast<float>(random(0, 5) == 0 ? random(0, 128) : 0);
      values.push_back(whole ? level : std::ldexp(static_cast<float>(random(-1 << 20, 1 << 20)), random(-30, 4)));
    }
    cuda::HostMemory memory(std::byte{0x5A});
    cuda::Arena arena = memory.arena();
    const cuda::SelectWork work(segments, arena);
    cuda::HostExecutor executor(memory.parts());
    const cuda::Always total{static_cast<std::uint64_t>(n)};
    std::vector<double> found(static_cast<std::size_t>(segments));
    if (whole) {
      cuda::find_percentiles(
          executor, work, segments, n, total, q, 8,
          [&](std::int64_t s, std::int64_t i) {
            return cuda::Weighted{static_cast<std::uint32_t>(values[static_cast<std::size_t>(s * n + i)]), 1};
          },
          [](std::uint32_t level) { return static_cast<double>(level); }, found.data());
    } else {
      cuda::find_percentiles(
          executor, work, segments, n, total, q,
          [&](std::int64_t s, std::int64_t i) { return cuda::weighted(values[static_cast<std::size_t>(s * n + i)]); },
          found.data());
    }
    for (std::int64_t s = 0; s < segments; ++s) {
      REQUIRE(found[static_cast<std::size_t>(s)] == percentile(std::span(values).subspan(s * n, n), q));
    }
  }
}

TEST_CASE("the levels made of coefficients are those of the residual that the CPU reconstructs") {
  using namespace ove::hevc;
  Random random{std::mt19937(3)};
  for (int trial = 0; trial < 300; ++trial) {
    CAPTURE(trial);
    const int width = 8 * random(4, 12), height = 8 * random(4, 9), bit_depth = random.one_of({8, 10, 12});
    Source source{width, height, bit_depth, 16, {}, {}, {}, {}, {}, {}, true, true};
    source.residual.assign(static_cast<std::size_t>(width) * height, 0);
    SparseResidual sparse;
    for (int y = 0; y + 32 <= height; y += 32) {
      for (int x = 0; x + 32 <= width; x += 32) {
        // One size in each square; a few of its blocks.
        const int log2_size = random(2, 5), size = 1 << log2_size;
        for (int at = 0; at < 32 * 32 / (size * size); ++at) {
          if (random(0, 2) == 0) continue;
          ResidualMode mode{.log2_size = log2_size, .bit_depth = bit_depth};
          mode.transquant_bypass = random(0, 5) == 0;
          mode.transform_skip = !mode.transquant_bypass && random(0, 4) == 0;
          if (mode.transquant_bypass || mode.transform_skip) {
            mode.rdpcm = random.one_of({Rdpcm::kNone, Rdpcm::kHorizontal, Rdpcm::kVertical});
            mode.rotate = log2_size == 2 && random(0, 1) == 1;
          }
          mode.dst = log2_size == 2 && random(0, 1) == 1;
          CoefficientBlock one;
          one.columns = random(1, size), one.rows = random(1, size);
          if (size > 4 && random(0, 3) == 0) one.columns = one.rows = 1;  // DC alone
          const int largest = random.one_of({2, 60, 3000, 32767});
          for (int k = random(1, 20); k > 0; --k) {
            const int place = random(0, one.rows - 1) * size + random(0, one.columns - 1);
            one.values[static_cast<std::size_t>(place)] = static_cast<std::int16_t>(random(-largest, largest));
          }
          CoefficientBlock other = one;
          const int left = x + at % (32 / size) * size, top = y + at / (32 / size) * size;
          reconstruct_residual(kPlainTransforms, one, mode,
                               source.residual.data() + static_cast<std::size_t>(top) * width + left, width);
          keep_coefficients(other, mode, left / 4, top / 4, sparse);
          REQUIRE(other.values == CoefficientBlock().values);
        }
      }
    }
    HeatParams params;
    params.mv_weight = 0;
    DisplayWindow window{random(0, 9), random(0, 9), 0, 0, 0};
    window.width = width - window.x - random(0, 9);
    window.height = height - window.y - random(0, 9);
    const cuda::HeatPlan plan(params, window, make_geometry(window.width, window.height, Resize::kStretch, 16, 4), 16,
                              std::int64_t{width} * height);
    const cuda::HeatTables& tables = plan.tables();
    PictureView view = source.view();
    view.residual = nullptr;
    std::vector<std::byte> record(static_cast<std::size_t>(plan.record_bytes(&sparse)));
    const cuda::RecordSizes sizes = plan.pack(view, &sparse, record.data());
    REQUIRE(sizes.bytes == std::ssize(record));

    cuda::HostMemory memory(std::byte{0xA5});
    cuda::Arena arena = memory.arena();
    const cuda::ClipArrays arrays(tables, 2, arena);
    cuda::HostExecutor executor(memory.parts());
    cuda::take_in(executor, tables, plan.block().data(), sizes, record.data(), arrays, 1);
    for (int y = 0; y < window.height; ++y) {
      for (int x = 0; x < window.width; ++x) {
        const auto residual = source.residual[static_cast<std::size_t>(window.y + y) * width + window.x + x];
        REQUIRE(arrays.levels[tables.samples() + std::int64_t{y} * window.width + x] ==
                residual_level(residual >> (bit_depth - 8)));
      }
    }
    sparse.samples = static_cast<std::uint32_t>(width * height + 1);
    CHECK_THROWS_AS(plan.pack(view, &sparse, record.data()), std::invalid_argument);
  }
}

TEST_CASE("a plan refuses parameters that make no sense, and pictures that lack arrays") {
  HeatParams params;
  const DisplayWindow window{0, 0, 64, 32, 0};
  const Geometry geometry = make_geometry(64, 32, Resize::kStretch, 16, 4);
  const cuda::HeatPlan plan(params, window, geometry, 16);
  std::vector<std::byte> record(static_cast<std::size_t>(plan.tables().record.capacity));
  Random random{std::mt19937(1)};
  const Source picture = random_picture(random, 64, 32, 8, 16, true, true);
  for (int missing = 0; missing < 2; ++missing) {
    PictureView view = picture.view();
    (missing == 0 ? view.mv : view.residual) = nullptr;
    CHECK_THROWS_AS(plan.pack(view, nullptr, record.data()), std::invalid_argument);
  }
  PictureView bare = picture.view();
  bare.bits = nullptr;
  params.bits_weight = 1;
  const cuda::HeatPlan with_bits(params, window, geometry, 16);
  CHECK_THROWS_AS(with_bits.dense_sizes(bare), std::invalid_argument);
  bare = picture.view();
  CHECK(with_bits.dense_sizes(bare).level_blocks == 32);
  bare.bits_rows -= 1;
  CHECK_THROWS_AS(with_bits.dense_sizes(bare), std::invalid_argument);
  bare.ctb_size = 32;
  CHECK_THROWS_AS(with_bits.dense_sizes(bare), std::invalid_argument);
  params.local_variance = 4;
  CHECK_THROWS_AS(cuda::HeatPlan(params, window, geometry, 16), std::invalid_argument);
}
