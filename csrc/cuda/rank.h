// From the scores of the clips of a batch to their kept patches: saliency::keep_patches of each, as steps of an
// executor.
#pragma once

#include <cstdint>
#include <type_traits>

#include "common/host_device.h"
#include "cuda/percentiles.h"
#include "saliency/formulas.h"

namespace ove::cuda {

// One clip. Pointers are of the executor's memory; `patches` are those of a picture.
struct RankedClip {
  const float* scores = nullptr;
  const std::uint8_t* valid = nullptr;           // (patches,)
  const std::uint8_t* classes = nullptr;         // (frames * patches,) saliency::PatchClass
  const std::uint8_t* static_classes = nullptr;  // of a static clip; null without static_fallback
  std::int64_t first = 0, first_kept = 0;        // patches, and kept ones, of the clips before it
  std::int64_t frames = 0, patches = 0, columns = 0;
  std::int64_t selectable = 0;   // patches of a picture that may be kept
  std::int64_t kept = 0;         // without tau: how many are kept
  std::int64_t first_share = 0;  // saliency::first_share
  double full_score = 0;

  OVE_HOST_DEVICE std::int64_t counted() const { return frames * selectable; }
};
static_assert(std::is_trivially_copyable_v<RankedClip>);

// All of them, in the executor's memory, with the rules that they share.
struct Ranking {
  const RankedClip* clips = nullptr;
  std::int64_t clip_count = 0;
  std::int64_t total = 0, kept = 0;  // patches, and kept ones, of all clips
  bool pad = false, may_be_static = false, by_tau = false;
  bool shares_first = false;  // a clip has a first_share
  double static_level = 0, static_contrast = 0;
  double tau = 0;

  // The clip of a patch, and that of a kept one.
  OVE_HOST_DEVICE std::int64_t clip_of(std::int64_t patch) const { return last_at(patch, &RankedClip::first); }
  OVE_HOST_DEVICE std::int64_t clip_of_kept(std::int64_t i) const { return last_at(i, &RankedClip::first_kept); }

 private:
  // The last clip that begins at or before i.
  OVE_HOST_DEVICE std::int64_t last_at(std::int64_t i, std::int64_t RankedClip::*begin) const {
    std::int64_t clip = 0;
    for (std::int64_t end = clip_count; end - clip > 1;) {
      const std::int64_t middle = clip + (end - clip) / 2;
      (clips[middle].*begin <= i ? clip : end) = middle;
    }
    return clip;
  }
};
static_assert(std::is_trivially_copyable_v<Ranking>);

// Where the patches of each clip begin.
struct FirstPatches {
  const RankedClip* clips;
  std::int64_t clip_count, total;
  OVE_HOST_DEVICE std::int64_t operator()(std::int64_t clip) const {
    return clip < clip_count ? clips[clip].first : total;
  }
};

struct RankWork {
  std::uint64_t *keys = nullptr, *sorted = nullptr;
  std::uint8_t* is_static = nullptr;  // by clip

  RankWork(std::int64_t total, std::int64_t clip_count, Arena& arena)
      : keys(arena.take<std::uint64_t>(total)),
        sorted(arena.take<std::uint64_t>(total)),
        is_static(arena.take<std::uint8_t>(clip_count)) {}
};

// The least number of bits, 1 or more, that hold n.
constexpr int bits_of(std::int64_t n) {
  int bits = 1;
  while (n >> bits != 0) ++bits;
  return bits;
}

// Writes mask (total,), 1 for kept patches; without tau also positions (kept, 3), clip by clip and ascending: picture,
// row, column.
template <class Executor>
void rank_patches(Executor& executor, const Ranking& r, const RankWork& work, std::uint8_t* mask,
                  std::int32_t* positions) {
  constexpr std::uint64_t kLast = ~std::uint64_t{0};  // behind all patches that count
  const FirstPatches first_patches{r.clips, r.clip_count, r.total};
  if (r.may_be_static) {
    executor.for_each(r.total, [=] OVE_HOST_DEVICE(std::int64_t i) {
      const RankedClip& clip = r.clips[r.clip_of(i)];
      const std::int64_t patch = i - clip.first;
      const float mean = saliency::mean_heat(clip.scores[patch], clip.full_score);
      work.keys[i] = r.pad || clip.valid[patch % clip.patches] != 0 ? saliency::ordered_bits(mean) : kLast;
    });
    executor.sort(work.keys, work.sorted, r.clip_count, r.total, first_patches);
    executor.for_each(r.clip_count, [=] OVE_HOST_DEVICE(std::int64_t c) {
      const RankedClip& clip = r.clips[c];
      const auto counted = static_cast<std::uint64_t>(clip.counted());
      const auto percentile = [&](double q) {
        if (counted == 0) return 0.0;
        const auto at = [&](std::uint64_t k) {
          return static_cast<double>(
              saliency::from_ordered_bits(static_cast<std::uint32_t>(work.sorted[clip.first + k])));
        };
        const saliency::Rank rank = saliency::rank_of(counted, q);
        return saliency::between_ranks(rank, at(rank.low), at(rank.high));
      };
      work.is_static[c] = saliency::is_static(percentile(95.0), percentile(50.0), r.static_level, r.static_contrast);
    });
  }
  const auto class_of = [=] OVE_HOST_DEVICE(std::int64_t c, std::int64_t patch) {
    const RankedClip& clip = r.clips[c];
    return (r.may_be_static && work.is_static[c] != 0 ? clip.static_classes : clip.classes)[patch];
  };
  if (r.by_tau) {
    executor.for_each(r.total, [=] OVE_HOST_DEVICE(std::int64_t i) {
      const std::int64_t c = r.clip_of(i), patch = i - r.clips[c].first;
      const RankedClip& clip = r.clips[c];
      const bool valid = clip.valid[patch % clip.patches] != 0;
      const bool hot = valid && saliency::is_hot(clip.scores[patch], clip.full_score, r.tau);
      mask[i] = (valid || r.pad) && (hot || class_of(c, patch) != saliency::kFree) ? 1 : 0;
    });
    return;
  }
  executor.zero(mask, r.total);
  if (r.kept == 0) return;
  if (r.shares_first) {  // the mask tells those patches until the next step has read it
    executor.for_each(r.total, [=] OVE_HOST_DEVICE(std::int64_t i) {
      const RankedClip& clip = r.clips[r.clip_of(i)];
      const std::int64_t patch = i - clip.first;
      const bool ranked = clip.first_share > 0 && patch < clip.patches;
      const bool valid = ranked && clip.valid[patch] != 0;
      work.keys[i] = ranked && (valid || r.pad)
                         ? saliency::first_key(clip.scores[patch], !valid, static_cast<std::uint64_t>(patch))
                         : kLast;
    });
    executor.sort(work.keys, work.sorted, r.clip_count, r.total, first_patches);
    executor.for_each(r.total, [=] OVE_HOST_DEVICE(std::int64_t i) {
      const RankedClip& clip = r.clips[r.clip_of(i)];
      if (i - clip.first >= clip.first_share) return;
      mask[clip.first + static_cast<std::int64_t>(saliency::patch_of_first_key(work.sorted[i]))] = 1;
    });
  }
  executor.for_each(r.total, [=] OVE_HOST_DEVICE(std::int64_t i) {
    const std::int64_t c = r.clip_of(i), patch = i - r.clips[c].first;
    const RankedClip& clip = r.clips[c];
    const bool valid = clip.valid[patch % clip.patches] != 0;
    // Of those that may be kept there are clip.kept or more.
    const std::uint8_t rank_class = r.shares_first && mask[i] != 0 ? saliency::kFirst : class_of(c, patch);
    work.keys[i] = valid || r.pad
                       ? saliency::rank_key(rank_class, clip.scores[patch], !valid, static_cast<std::uint64_t>(patch))
                       : kLast;
  });
  if (r.shares_first) executor.zero(mask, r.total);
  executor.sort(work.keys, work.sorted, r.clip_count, r.total, first_patches);
  executor.for_each(r.kept, [=] OVE_HOST_DEVICE(std::int64_t i) {
    const RankedClip& clip = r.clips[r.clip_of_kept(i)];
    const std::uint64_t key = work.sorted[clip.first + (i - clip.first_kept)];
    work.keys[i] = static_cast<std::uint64_t>(clip.first) + (key & saliency::kIndexMask);
  });
  executor.sort(work.keys, work.sorted, r.kept, bits_of(r.total));
  executor.for_each(r.kept, [=] OVE_HOST_DEVICE(std::int64_t i) {
    const auto at = static_cast<std::int64_t>(work.sorted[i]);
    const RankedClip& clip = r.clips[r.clip_of_kept(i)];
    const std::int64_t patch = at - clip.first;
    mask[at] = 1;
    positions[3 * i] = static_cast<std::int32_t>(patch / clip.patches);
    positions[3 * i + 1] = static_cast<std::int32_t>(patch % clip.patches / clip.columns);
    positions[3 * i + 2] = static_cast<std::int32_t>(patch % clip.patches % clip.columns);
  });
}

}  // namespace ove::cuda
