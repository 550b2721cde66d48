// From the patch scores of a clip to the patches that are kept.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace ove::saliency {

struct RankingParams {
  std::optional<double> tau;           // keep patches whose mean heat (0..1) is above; or
  std::optional<std::int64_t> budget;  // keep so many patches of the clip
  bool keep_first_frame = false;
  double first_frame_share = 1;  // of the budget: the most that the first picture gets before others
  bool pad = false;              // patches that padding touches rank below all others instead of being left out
  bool static_fallback = false;
  double static_level = 0, static_contrast = 0;  // mean heat 0..1; (p95 - p50) / p95
  int static_frames = 0;
};

// The scores of `frames` pictures with `patches` patches each. A patch of full heat scores `full_score`.
struct ScoreView {
  std::span<const float> scores;
  int frames = 0, patches = 0;
  double full_score = 0;
  std::span<const std::uint8_t> valid;       // a patch of the grid: wholly inside the picture
  std::span<const std::uint8_t> keep_whole;  // a picture: its patches are kept before those of others
};

// How many patches of the first picture come before all others, in the order of first_key, where first_frame_share of
// the budget does not hold them all; 0 where it does, or the picture is not kept first. Looks at no score.
std::int64_t first_share(const ScoreView& view, const RankingParams& params);

// The PatchClass of every patch, but kFirst of a first picture that is kept in part; `uniform` where static_fallback
// applies. Looks at no score.
std::vector<std::uint8_t> classify(const ScoreView& view, const RankingParams& params, bool uniform);

// 1 for every kept patch. Patches rank by class, score descending, (t, h, w) ascending; the classes are the first
// picture (keep_first_frame) or its share of the budget, the uniform pictures of a static clip (static_fallback),
// pictures to keep whole, the rest. Under tau the patches of the first three classes are kept whatever their score.
std::vector<std::uint8_t> keep_patches(const ScoreView& view, const RankingParams& params);

}  // namespace ove::saliency
