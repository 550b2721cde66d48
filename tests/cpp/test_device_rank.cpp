// The GPU's way from scores to kept patches, run on the CPU, against the CPU's own.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "cuda/rank.h"
#include "host_executor.h"
#include "random.h"
#include "saliency/ranking.h"

using namespace ove;
using namespace ove::saliency;

namespace {

// A clip of a batch, and what the CPU keeps of it.
struct ScoredClip {
  int frames, rows, columns;
  std::vector<float> scores;
  std::vector<std::uint8_t> valid, classes, uniform, kept;
  std::int64_t selectable = 0, first_share = 0;

  int patches() const { return rows * columns; }
  std::int64_t num_kept() const { return std::count(kept.begin(), kept.end(), 1); }
};

constexpr double kFullScore = 2.0;

ScoredClip random_scores(Random& random, const RankingParams& params) {
  ScoredClip c{random(1, 6), random(1, 5), random(1, 6), {}, {}, {}, {}, {}};
  for (int i = 0; i < c.frames * c.patches(); ++i) c.scores.push_back(static_cast<float>(random(-1, 8)) / 4);
  const int holes = random(0, 9) == 0 ? 0 : 4;  // of some clips no patch is whole
  for (int i = 0; i < c.patches(); ++i) c.valid.push_back(random(0, holes) != 0);
  std::vector<std::uint8_t> whole;
  for (int i = 0; i < c.frames; ++i) whole.push_back(random(0, 4) == 0);
  const ScoreView view{c.scores, c.frames, c.patches(), kFullScore, c.valid, whole};
  c.classes = classify(view, params, false);
  c.uniform = classify(view, params, true);
  c.kept = keep_patches(view, params);
  c.first_share = first_share(view, params);
  c.selectable = params.pad ? c.patches() : std::count(c.valid.begin(), c.valid.end(), 1);
  return c;
}

RankingParams random_ranking(Random& random) {
  RankingParams params;
  if (random(0, 2) == 0) {
    params.tau = random(0, 10) / 10.0;
  } else {
    params.budget = random(0, 9) == 0 ? 0 : random(1, 200);
  }
  params.keep_first_frame = random(0, 1) == 1;
  params.first_frame_share = random(0, 1) == 1 ? 1.0 : random(1, 10) / 40.0;
  params.pad = random(0, 1) == 1;
  params.static_fallback = random(0, 1) == 1;
  params.static_level = random(0, 10) / 10.0;
  params.static_contrast = 0.4;
  params.static_frames = random(1, 4);
  return params;
}

// What the steps keep of all clips together: mask and positions.
std::pair<std::vector<std::uint8_t>, std::vector<std::int32_t>> device_kept(const std::vector<ScoredClip>& clips,
                                                                            const RankingParams& params) {
  std::vector<cuda::RankedClip> ranked;
  cuda::Ranking r;
  for (const ScoredClip& clip : clips) {
    cuda::RankedClip c;
    c.scores = clip.scores.data();
    c.valid = clip.valid.data();
    c.classes = clip.classes.data();
    c.static_classes = params.static_fallback ? clip.uniform.data() : nullptr;
    c.first = r.total;
    c.first_kept = r.kept;
    c.frames = clip.frames;
    c.patches = clip.patches();
    c.columns = clip.columns;
    c.selectable = clip.selectable;
    c.kept = std::min<std::int64_t>(params.budget.value_or(0), c.counted());
    c.first_share = clip.first_share;
    r.shares_first = r.shares_first || c.first_share > 0;
    c.full_score = kFullScore;
    r.total += c.frames * c.patches;
    r.kept += c.kept;
    ranked.push_back(c);
  }
  r.clips = ranked.data();
  r.clip_count = std::ssize(ranked);
  r.pad = params.pad;
  r.may_be_static = params.static_fallback;
  r.static_level = params.static_level;
  r.static_contrast = params.static_contrast;
  r.by_tau = params.tau.has_value();
  r.tau = params.tau.value_or(0);
  cuda::HostMemory memory(std::byte{0x5A});
  cuda::Arena arena = memory.arena();
  const cuda::RankWork work(r.total, r.clip_count, arena);
  std::vector<std::uint8_t> mask(static_cast<std::size_t>(r.total), 9);
  std::vector<std::int32_t> positions(static_cast<std::size_t>(3 * r.kept), -1);
  std::vector<std::span<std::byte>> written = memory.parts();
  written.push_back(std::as_writable_bytes(std::span(mask)));
  written.push_back(std::as_writable_bytes(std::span(positions)));
  cuda::HostExecutor executor(written);
  cuda::rank_patches(executor, r, work, mask.data(), positions.data());
  return {mask, positions};
}

}  // namespace

TEST_CASE("the steps of a GPU keep the patches that the CPU keeps, of one clip and of many") {
  Random random{std::mt19937(11)};
  for (int trial = 0; trial < 600; ++trial) {
    CAPTURE(trial);
    const RankingParams params = random_ranking(random);
    std::vector<ScoredClip> clips;
    for (int i = trial == 0 ? 4096 : random.one_of({1, 1, 2, 7, 40}); i > 0; --i) {
      clips.push_back(random_scores(random, params));
    }
    const auto [mask, positions] = device_kept(clips, params);
    std::vector<std::uint8_t> expected;
    std::vector<std::int32_t> places;
    for (const ScoredClip& clip : clips) {
      expected.insert(expected.end(), clip.kept.begin(), clip.kept.end());
      for (int i = 0; i < static_cast<int>(clip.kept.size()); ++i) {
        if (clip.kept[static_cast<std::size_t>(i)] == 0) continue;
        places.insert(places.end(),
                      {i / clip.patches(), i % clip.patches() / clip.columns, i % clip.patches() % clip.columns});
      }
    }
    REQUIRE(mask == expected);
    if (!params.tau) REQUIRE(positions == places);
  }
}
