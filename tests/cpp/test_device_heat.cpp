// The GPU's way to scores, run on the CPU, against the CPU's own.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "common/geometry.h"
#include "cuda/heat.h"
#include "cuda/heat_tables.h"
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
  std::int64_t operations = 0;
};

// A picture that counts for sampled picture number `sampled`.
struct Counted {
  const Source* picture;
  std::int64_t sampled;
};

// Whether the heat of a picture is 0 whatever it holds.
bool is_off(const HeatParams& params, const Source& picture) { return params.zero_intra_pictures && picture.intra; }

// Scores of the `sampled` pictures that `counted` has, taken in `batch` at a time (in place where that is 1), up to
// `room` before they are added up where they accumulate.
DeviceResult device_scores(const HeatParams& params, const DisplayWindow& window, const Geometry& geometry,
                           const std::vector<Counted>& counted, std::int64_t sampled, std::int64_t room,
                           std::int64_t batch, bool watch) {
  const cuda::HeatPlan plan(params, window, geometry, counted[0].picture->ctb_size);
  const cuda::HeatTables& tables = plan.tables();
  if (!tables.accumulates()) room = sampled;
  cuda::HostMemory memory(std::byte{0xA5});
  cuda::Arena arena = memory.arena();
  const cuda::ClipMemory clip_memory(tables, room, sampled, arena);
  DeviceResult result;
  result.scores.resize(static_cast<std::size_t>(sampled * tables.patches()));
  result.heat.resize(static_cast<std::size_t>(geometry.canvas_width()) * geometry.canvas_height());

  std::vector<std::span<std::byte>> written = memory.parts();
  for (std::vector<float>* out : {&result.scores, &result.heat}) {
    written.push_back(std::as_writable_bytes(std::span(*out)));
  }
  cuda::HostExecutor executor = watch ? cuda::HostExecutor(written) : cuda::HostExecutor();
  cuda::Clip clip{tables, plan.block().data(), clip_memory.arrays, clip_memory.work, sampled};
  if (tables.accumulates()) cuda::clear_sums(executor, tables, clip_memory.sums, sampled);
  std::int64_t taken = 0;  // since the last sums
  std::vector<cuda::PictureRecord> records;
  std::vector<std::vector<std::byte>> packed;  // what the records point to
  const auto take_in = [&] {
    std::int64_t most_level_blocks = 0;
    for (const auto& record : records) most_level_blocks = std::max(most_level_blocks, record.level_block_count);
    cuda::take_in(executor, tables, records.data(), std::ssize(records), most_level_blocks, clip_memory.arrays, taken);
    taken += std::ssize(records);
    records.clear();
    packed.clear();
  };
  const auto accumulate = [&] {
    take_in();
    clip.pictures = taken;
    const std::int32_t* const slots = clip_memory.arrays.sampled;
    cuda::accumulate(executor, clip, clip_memory.sums, slots[0], slots[taken - 1] + 1);
    taken = 0;
  };
  for (const auto& [picture, slot] : counted) {
    if (tables.accumulates() && taken + std::ssize(records) == room) accumulate();
    if (std::ssize(records) == batch) take_in();
    const PictureView view = picture->view();
    if (batch == 1) {
      records.push_back(plan.in_place(view));
    } else {
      std::vector<std::byte>& bytes = packed.emplace_back(static_cast<std::size_t>(plan.most_bytes()));
      std::int64_t size = 0;
      records.push_back(plan.pack(view, bytes.data(), bytes.data(), size));
      REQUIRE(size <= std::ssize(bytes));
    }
    records.back().sampled = static_cast<std::int32_t>(slot);
  }
  if (tables.accumulates()) {
    accumulate();
    clip = clip.sampled(clip_memory.sums, sampled);
  } else {
    take_in();
  }
  float scales[3];
  cuda::measure(executor, clip, nullptr, scales);
  cuda::score(executor, clip, result.scores.data());
  cuda::render(executor, clip, sampled - 1, result.heat.data());
  result.operations = executor.operations();
  if (params.clip_scope) {  // the same again with these scales
    std::vector<float> again(result.heat.size());
    std::ranges::fill(std::span(clip.work.scales, static_cast<std::size_t>(3 * sampled)), -1.0f);
    cuda::HostExecutor other;
    cuda::measure(other, clip, scales, nullptr);
    cuda::render(other, clip, sampled - 1, again.data());
    REQUIRE(again == result.heat);
  }
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
    DisplayWindow window{random(0, 4), random(0, 4), 0, 0, {random(0, 3), random(0, 1) == 1}};
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

    const DeviceResult device =
        device_scores(params, window, geometry, counted, hot, random(1, 5), random(1, 4), trial % 10 == 0);

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
  const std::int32_t sampled[] = {0, 2, 2, 2, 3};
  float sum[8] = {5, 5, 5, 5, 3, 0, 5, 5};
  std::uint8_t most[4] = {5, 5, 5, 5};
  cuda::HostExecutor executor({std::as_writable_bytes(std::span(sum)), std::as_writable_bytes(std::span(most))});
  const auto value = [&](std::int64_t p, std::int64_t) { return values[p]; };
  cuda::accumulate_values<float>(executor, Accumulate::kSum, sampled, 5, 1, 3, 2, sum, value);
  CHECK(std::vector(sum, sum + 8) == std::vector<float>{5, 5, 5, 5, 1e8f, 1e8f, 5, 5});
  cuda::accumulate_values<float>(executor, Accumulate::kMax, sampled, 5, 3, 4, 1, most, value);
  CHECK(std::vector(most, most + 4) == std::vector<std::uint8_t>{5, 5, 5, 9});
}

TEST_CASE("a clip takes few operations, however many pictures it has") {
  Random random{std::mt19937(11)};
  const DisplayWindow window{0, 0, 64, 48, {}};
  const Geometry geometry = make_geometry(64, 48, Resize::kCrop, 32, 8);
  std::vector<Source> pictures;
  for (int i = 0; i < 64; ++i) pictures.push_back(random_picture(random, 64, 48, 8, 16, true, true));
  std::vector<Counted> counted;
  for (std::int64_t i = 0; i < 64; ++i) counted.push_back({&pictures[static_cast<std::size_t>(i)], i});
  HeatParams params;
  CHECK(device_scores(params, window, geometry, counted, 64, 64, 64, false).operations <= 40);
  params.compensate = Compensate::kMedian;
  params.vector = VectorMode::kDisplacement;
  params.accumulate = Accumulate::kSum;
  CHECK(device_scores(params, window, geometry, counted, 64, 64, 64, false).operations <= 50);
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
    const std::int64_t segments = random(1, 5), parts = random(1, 3), n = random(1, 200), all = parts * n;
    const double q = random.one_of({0.0, 3.7, 50.0, 95.0, 99.9, 100.0});
    const bool whole = random(0, 1) == 1;
    std::vector<float> values;
    std::vector<std::uint8_t> bytes;
    for (std::int64_t i = 0; i < segments * all; ++i) {
      const int level = random(0, 5) == 0 ? random(0, 128) : 0;
      bytes.push_back(static_cast<std::uint8_t>(level));
      values.push_back(whole ? static_cast<float>(level)
                             : std::ldexp(static_cast<float>(random(-1 << 20, 1 << 20)), random(-30, 4)));
    }
    cuda::HostMemory memory(std::byte{0x5A});
    cuda::Arena arena = memory.arena();
    const cuda::SelectWork work(segments, arena);
    cuda::HostExecutor executor(memory.parts());
    std::vector<double> found(static_cast<std::size_t>(segments));
    const auto store = [&](std::int64_t s, double value) { found[static_cast<std::size_t>(s)] = value; };
    if (whole) {
      cuda::find_byte_percentiles(executor, work, segments, all, bytes.data(), q, store);
    } else {
      cuda::find_percentiles(
          executor, work, cuda::Extent{segments, parts, n}, cuda::Always{static_cast<std::uint64_t>(all)}, q,
          [&](std::int64_t s, std::int64_t part, std::uint32_t i) {
            return cuda::weighted(values[static_cast<std::size_t>((s * parts + part) * n + i)]);
          },
          store);
    }
    for (std::int64_t s = 0; s < segments; ++s) {
      REQUIRE(found[static_cast<std::size_t>(s)] == percentile(std::span(values).subspan(s * all, all), q));
    }
  }
}

TEST_CASE("shares of threads count every byte once, wherever they begin") {
  Random random{std::mt19937(9)};
  for (int trial = 0; trial < 300; ++trial) {
    const int first = random(0, 20), n = random(0, trial % 3 == 0 ? 40 : 700), mode = random(0, 3);
    // Another block for each, so that sanitizers see what is read around it.
    const auto block = std::make_unique<std::uint8_t[]>(static_cast<std::size_t>(first + n));
    std::vector<std::int64_t> expected(256), counts(256);
    for (int i = 0; i < n; ++i) {
      // All alike, in runs, each another than the one before, and anything
      const int value = mode == 0 ? 255 : mode == 1 ? i / 21 % 2 * 7 : mode == 2 ? i % 256 : random(0, 255);
      block[static_cast<std::size_t>(first + i)] = static_cast<std::uint8_t>(value);
      ++expected[static_cast<std::size_t>(value)];
    }
    const int threads = random(1, 70);
    for (int thread = 0; thread < threads; ++thread) {
      cuda::count_bytes_share(block.get() + first, n, thread, threads,
                              [&](std::uint32_t value, std::uint32_t times) { counts[value] += times; });
    }
    REQUIRE(counts == expected);
  }
}

TEST_CASE("a plan refuses parameters that make no sense, and pictures that lack arrays") {
  HeatParams params;
  const DisplayWindow window{0, 0, 64, 32, {}};
  const Geometry geometry = make_geometry(64, 32, Resize::kStretch, 16, 4);
  const cuda::HeatPlan plan(params, window, geometry, 16);
  std::vector<std::byte> memory(static_cast<std::size_t>(plan.most_bytes()));
  std::int64_t bytes = 0;
  Random random{std::mt19937(1)};
  const Source picture = random_picture(random, 64, 32, 8, 16, true, true);
  for (int missing = 0; missing < 2; ++missing) {
    PictureView view = picture.view();
    (missing == 0 ? view.mv : view.residual) = nullptr;
    CHECK_THROWS_AS(plan.pack(view, memory.data(), memory.data(), bytes), std::invalid_argument);
  }
  PictureView overlapping = picture.view();
  const std::vector<CodedSquare> squares(3, CodedSquare{0, 0, 16});
  overlapping.coded = squares;
  CHECK_THROWS_AS(plan.pack(overlapping, memory.data(), memory.data(), bytes), std::invalid_argument);
  PictureView bare = picture.view();
  bare.bits = nullptr;
  params.bits_weight = 1;
  const cuda::HeatPlan with_bits(params, window, geometry, 16);
  CHECK_THROWS_AS(with_bits.in_place(bare), std::invalid_argument);
  bare = picture.view();
  CHECK(with_bits.in_place(bare).bits == picture.bits.data());
  bare.bits_rows -= 1;
  CHECK_THROWS_AS(with_bits.in_place(bare), std::invalid_argument);
  bare.ctb_size = 32;
  CHECK_THROWS_AS(with_bits.in_place(bare), std::invalid_argument);
  params.local_variance = 4;
  CHECK_THROWS_AS(cuda::HeatPlan(params, window, geometry, 16), std::invalid_argument);
}
