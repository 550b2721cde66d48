// From the scores of a clip to its kept patches: saliency::keep_patches, as steps of an executor.
#pragma once

#include <cstdint>

#include "common/host_device.h"
#include "cuda/percentiles.h"
#include "saliency/formulas.h"

namespace ove::cuda {

// Pointers are of the executor's memory. `patches` are those of a picture, `total` those of the clip.
struct Ranking {
  const float* scores = nullptr;
  const std::uint8_t* valid = nullptr;           // (patches,)
  const std::uint8_t* classes = nullptr;         // (total,) saliency::PatchClass
  const std::uint8_t* static_classes = nullptr;  // of a static clip; null without static_fallback
  std::int64_t frames = 0, patches = 0, columns = 0;
  std::int64_t selectable = 0;  // patches of a picture that may be kept
  bool pad = false;
  double full_score = 0, static_level = 0, static_contrast = 0;
  bool by_tau = false;
  double tau = 0;
  std::int64_t kept = 0;  // without tau: how many are kept

  OVE_HOST_DEVICE std::int64_t total() const { return frames * patches; }
};
static_assert(std::is_trivially_copyable_v<Ranking>);

struct RankWork {
  SelectWork p95, p50;
  std::uint64_t *keys = nullptr, *sorted = nullptr;

  RankWork(std::int64_t total, Arena& arena)
      : p95(1, arena),
        p50(1, arena),
        keys(arena.take<std::uint64_t>(total)),
        sorted(arena.take<std::uint64_t>(total)) {}
};

// Writes mask (total,), 1 for kept patches; without tau also positions (kept, 3), ascending: picture, row, column.
template <class Executor>
void rank_patches(Executor& executor, const Ranking& r, const RankWork& work, std::uint8_t* mask,
                  std::int32_t* positions) {
  const std::int64_t total = r.total();
  const bool may_be_static = r.static_classes != nullptr;
  if (may_be_static) {
    const auto mean = [=] OVE_HOST_DEVICE(std::int64_t, std::int64_t i) {
      return Weighted{saliency::mean_heat(r.scores[i], r.full_score), r.pad || r.valid[i % r.patches] ? 1u : 0u};
    };
    const auto counted = static_cast<std::uint64_t>(r.frames * r.selectable);
    find_percentiles(executor, work.p95, 1, total, counted, 95.0, mean, work.p95.percentiles);
    find_percentiles(executor, work.p50, 1, total, counted, 50.0, mean, work.p50.percentiles);
  }
  const auto class_of = [=] OVE_HOST_DEVICE(std::int64_t i) {
    const bool is_static = may_be_static && saliency::is_static(*work.p95.percentiles, *work.p50.percentiles,
                                                                r.static_level, r.static_contrast);
    return (is_static ? r.static_classes : r.classes)[i];
  };
  if (r.by_tau) {
    executor.for_each(total, [=] OVE_HOST_DEVICE(std::int64_t i) {
      const bool valid = r.valid[i % r.patches] != 0;
      const bool hot = valid && saliency::is_hot(r.scores[i], r.full_score, r.tau);
      mask[i] = (valid || r.pad) && (hot || class_of(i) != saliency::kFree) ? 1 : 0;
    });
    return;
  }
  executor.zero(mask, total);
  if (r.kept == 0) return;
  const std::uint64_t index_mask = (std::uint64_t{1} << saliency::kIndexBits) - 1;
  executor.for_each(total, [=] OVE_HOST_DEVICE(std::int64_t i) {
    const bool valid = r.valid[i % r.patches] != 0;
    work.keys[i] = valid || r.pad ? saliency::rank_key(class_of(i), r.scores[i], !valid, static_cast<std::uint64_t>(i))
                                  : ~std::uint64_t{0};  // behind all that may be kept, which are `kept` or more
  });
  executor.sort(work.keys, work.sorted, 1, total);
  executor.for_each(r.kept, [=] OVE_HOST_DEVICE(std::int64_t i) { work.keys[i] = work.sorted[i] & index_mask; });
  executor.sort(work.keys, work.sorted, 1, r.kept);
  executor.for_each(r.kept, [=] OVE_HOST_DEVICE(std::int64_t i) {
    const auto patch = static_cast<std::int64_t>(work.sorted[i]);
    mask[patch] = 1;
    positions[3 * i] = static_cast<std::int32_t>(patch / r.patches);
    positions[3 * i + 1] = static_cast<std::int32_t>(patch % r.patches / r.columns);
    positions[3 * i + 2] = static_cast<std::int32_t>(patch % r.columns);
  });
}

}  // namespace ove::cuda
