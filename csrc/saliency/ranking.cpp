#include "saliency/ranking.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <stdexcept>

#include "saliency/order_statistics.h"

namespace ove::saliency {

namespace {

// numpy.linspace(0, last, count) truncated to integers.
std::vector<int> linspace(int last, int count) {
  std::vector<int> values(count, 0);
  for (int i = 1; i < count; ++i) {
    values[i] = i + 1 == count ? last : static_cast<int>(i * (static_cast<double>(last) / (count - 1)));
  }
  return values;
}

bool is_static_clip(const ScoreView& view, const RankingParams& params) {
  std::vector<float> means;
  for (std::size_t i = 0; i < view.scores.size(); ++i) {
    if (params.pad || view.valid[i % view.patches] != 0) {
      means.push_back(mean_heat(view.scores[i], view.full_score));
    }
  }
  return is_static(percentile(means, 95.0), percentile(means, 50.0), params.static_level, params.static_contrast);
}

// Marks whole pictures spread over the clip, or, where the budget does not hold them, an even share of each of them
// spread over its patches in raster order.
void mark_uniform(const ScoreView& view, const RankingParams& params, std::vector<std::uint8_t>& classes) {
  std::vector<int> patches;
  for (int p = 0; p < view.patches; ++p) {
    if (params.pad || view.valid[p] != 0) patches.push_back(p);
  }
  const int frames = std::clamp(params.static_frames, 1, view.frames);
  const auto whole = static_cast<std::int64_t>(patches.size());
  const std::int64_t budget = std::min(params.budget.value_or(whole * frames), whole * frames);
  const std::vector<int> pictures = linspace(view.frames - 1, frames);
  for (int j = 0; j < frames; ++j) {
    const std::int64_t share = budget / frames + (j < budget % frames ? 1 : 0);
    for (std::int64_t i = 0; i < share; ++i) {
      const double step = static_cast<double>(whole) / static_cast<double>(share);
      const auto at = std::min(whole - 1, static_cast<std::int64_t>(std::nearbyint(static_cast<double>(i) * step)));
      std::uint8_t& mark = classes[static_cast<std::size_t>(pictures[j]) * view.patches + patches[at]];
      mark = std::min<std::uint8_t>(mark, kUniform);
    }
  }
}

}  // namespace

std::int64_t first_share(const ScoreView& view, const RankingParams& params) {
  if (!params.keep_first_frame || !params.budget || view.frames == 0) return 0;
  const std::int64_t selectable =
      params.pad ? view.patches : std::count(view.valid.begin(), view.valid.end(), std::uint8_t{1});
  const double most = std::min(params.first_frame_share * static_cast<double>(*params.budget), 1e15);
  const std::int64_t share = std::max<std::int64_t>(1, static_cast<std::int64_t>(most));
  return share < selectable ? share : 0;
}

std::vector<std::uint8_t> classify(const ScoreView& view, const RankingParams& params, bool uniform) {
  std::vector<std::uint8_t> classes(static_cast<std::size_t>(view.frames) * view.patches, kFree);
  for (int t = 0; t < view.frames; ++t) {
    const bool first = t == 0 && params.keep_first_frame && first_share(view, params) == 0;
    if (!first && view.keep_whole[t] == 0) continue;
    const auto begin = classes.begin() + static_cast<std::ptrdiff_t>(t) * view.patches;
    std::fill(begin, begin + view.patches, first ? kFirst : kWhole);
  }
  if (uniform && view.frames > 0) mark_uniform(view, params, classes);
  return classes;
}

std::vector<std::uint8_t> keep_patches(const ScoreView& view, const RankingParams& params) {
  if (view.scores.size() >> kIndexBits != 0)
    throw std::invalid_argument("more patches than 2^30: select from fewer pictures");
  std::vector<std::uint8_t> classes = classify(view, params, params.static_fallback && is_static_clip(view, params));
  std::vector<std::uint8_t> kept(view.scores.size(), 0);
  if (params.tau) {
    for (std::size_t i = 0; i < kept.size(); ++i) {
      const bool valid = view.valid[i % view.patches] != 0;
      const bool hot = valid && is_hot(view.scores[i], view.full_score, *params.tau);
      kept[i] = (valid || params.pad) && (hot || classes[i] != kFree);
    }
    return kept;
  }
  std::vector<std::uint64_t> keys;
  keys.reserve(kept.size());
  if (const std::int64_t share = first_share(view, params); share > 0) {
    for (std::size_t p = 0; p < static_cast<std::size_t>(view.patches); ++p) {
      const bool valid = view.valid[p] != 0;
      if (valid || params.pad) keys.push_back(first_key(view.scores[p], !valid, p));
    }
    std::nth_element(keys.begin(), keys.begin() + share, keys.end());
    for (std::int64_t i = 0; i < share; ++i) classes[patch_of_first_key(keys[i])] = kFirst;
    keys.clear();
  }
  for (std::size_t i = 0; i < kept.size(); ++i) {
    const bool valid = view.valid[i % view.patches] != 0;
    if (valid || params.pad) keys.push_back(rank_key(classes[i], view.scores[i], !valid, i));
  }
  const auto count = static_cast<std::size_t>(std::clamp<std::int64_t>(params.budget.value_or(0), 0, keys.size()));
  if (count < keys.size())
    std::nth_element(keys.begin(), keys.begin() + static_cast<std::ptrdiff_t>(count), keys.end());
  for (std::size_t i = 0; i < count; ++i) kept[keys[i] & kIndexMask] = 1;
  return kept;
}

}  // namespace ove::saliency
