// The rows that a patch is made of, in memory that is nearer: brought there by 16 bytes at a time, shared by threads.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

#include "common/host_device.h"
#include "tokens/patch_formula.h"

namespace ove::cuda {

// Of one component: two rows for each line of the patch, those above and below it, from the first byte that a tap
// touches to the last one. Interleaved components share the rows of the first of them.
struct StagedPlane {
  int owner = 0;                // the component whose rows these are
  int first = 0, end = 0;       // bytes of the stored row, of all that share it, from sample 0 of the owner
  int bytes = 0, offset = 0;    // of a staged row, and from the stage's beginning to its first one; of owners
  std::int64_t to_owner = 0;    // bytes from the owner's sample 0 to this component's
};

struct PatchStage {
  std::array<StagedPlane, 3> planes;
  int components = 0, patch = 0;
  int bytes = 0;  // of all rows; -1 where they are too many

  // Begins of rows, as numbers behind each other, lie behind the rows.
  OVE_HOST_DEVICE int rows() const { return 2 * patch * components; }
};

constexpr int kStageUnit = 16;  // bytes that are loaded at once

OVE_HOST_DEVICE inline bool interleaved(const tokens::ClipPlane& a, const tokens::ClipPlane& b) {
  const std::int64_t distance = b.samples - a.samples;
  return a.frame_stride == b.frame_stride && a.row_stride == b.row_stride && a.step == b.step && distance < a.step &&
         -distance < a.step;
}

// For complete taps; rows may take `capacity` bytes.
OVE_HOST_DEVICE inline void make_patch_stage(const tokens::ClipPlanes& clip, const tokens::AxisTaps* taps, int capacity,
                                             PatchStage& stage) {
  const tokens::PatchFormula& f = clip.formula;
  stage.bytes = -1;
  stage.components = f.components;
  stage.patch = f.patch;
  const tokens::AxisTaps &begin = taps[0], &end = taps[f.patch - 1];  // taps ascend or descend between them
  std::int64_t total = 0;
  for (int k = 0; k < f.components; ++k) {
    StagedPlane& plane = stage.planes[k];
    const tokens::ClipPlane& stored = clip.planes[k];
    const int one = k > 0 ? begin.chroma.first : begin.luma.first, other = k > 0 ? end.chroma.first : end.luma.first;
    const int width = k > 0 ? f.across.chroma_samples : f.across.picture.length;
    const int low = one < other ? one : other, high = (one < other ? other : one) + 1;
    const std::int64_t first = low * stored.step;
    const std::int64_t last = (high < width ? high : width - 1) * stored.step + clip.sample_bytes;
    if (last - first > capacity || last > (1 << 30)) return;
    plane.to_owner = 0;
    plane.owner = k;
    // Luma shares rows with chroma only where chroma has as many samples.
    for (int j = f.across.chroma_shift + f.down.chroma_shift > 0 ? 1 : 0; j < k; ++j) {
      if (stage.planes[j].owner != j || !interleaved(clip.planes[j], stored)) continue;
      StagedPlane& owner = stage.planes[j];
      plane.owner = j;
      plane.to_owner = stored.samples - clip.planes[j].samples;
      const int from = static_cast<int>(first + plane.to_owner), to = static_cast<int>(last + plane.to_owner);
      owner.first = from < owner.first ? from : owner.first;
      owner.end = to > owner.end ? to : owner.end;
      break;
    }
    if (plane.owner == k) plane.first = static_cast<int>(first), plane.end = static_cast<int>(last);
  }
  for (int k = 0; k < f.components; ++k) {
    StagedPlane& plane = stage.planes[k];
    if (plane.owner != k) continue;
    // Wherever the first byte lies in its unit
    plane.bytes = (plane.end - plane.first + 2 * (kStageUnit - 1)) / kStageUnit * kStageUnit;
    plane.offset = static_cast<int>(total);
    total += std::int64_t{2} * f.patch * plane.bytes;
    if (total > capacity) return;
  }
  stage.bytes = static_cast<int>(total);
}

// Brings every stride-th unit of the rows, from `first` on, to `to`, which lies where units may; `begins`, of
// PatchStage::rows() numbers, gets the distances from `to` to sample 0 of each row.
OVE_HOST_DEVICE inline void fill_patch_stage(const PatchStage& stage, const tokens::ClipPlanes& clip,
                                             const tokens::StoredRows& rows, int first, int stride, std::uint8_t* to,
                                             std::int32_t* begins) {
  const int lines = 2 * stage.patch;
  for (int k = 0; k < stage.components; ++k) {
    const StagedPlane& plane = stage.planes[k];
    if (plane.owner != k) continue;
    const tokens::ClipPlane& stored = clip.planes[k];
    const tokens::StoredAxis &across = clip.formula.across, &down = clip.formula.down;
    const int width = k > 0 ? across.chroma_samples : across.picture.length;
    const int height = k > 0 ? down.chroma_samples : down.picture.length;
    const std::uint8_t* const behind = stored.samples + (clip.frames - 1) * stored.frame_stride +
                                       (height - 1) * stored.row_stride + (width - 1) * stored.step + clip.sample_bytes;
    const int units = plane.bytes / kStageUnit;
    for (int i = first; i < lines * units; i += stride) {
      const int line = i / units, unit = i % units;
      const std::uint8_t* const row = rows(k, line / 2, line % 2);
      const std::uint8_t *const begin = row + plane.first, *const end = row + plane.end;
      const int skipped = static_cast<int>(reinterpret_cast<std::uintptr_t>(begin) % kStageUnit);
      const std::uint8_t* const from = begin - skipped + unit * kStageUnit;
      std::uint8_t* const place = to + plane.offset + i * kStageUnit;
      if (unit == 0) begins[k * lines + line] = plane.offset + line * plane.bytes + skipped - plane.first;
      if (from >= stored.samples && from + kStageUnit <= behind) {
        struct alignas(kStageUnit) [[gnu::may_alias]] Unit {
          std::uint32_t words[4];
        };
        *reinterpret_cast<Unit*>(place) = *reinterpret_cast<const Unit*>(from);
      } else {  // a unit reaches out of the planes, where nothing may be read
        for (int b = 0; b < kStageUnit; ++b) {
          if (from + b >= begin && from + b < end) place[b] = from[b];
        }
      }
    }
  }
}

// tokens::StoredRows of a filled stage.
class StagedRows {
 public:
  OVE_HOST_DEVICE StagedRows(const PatchStage& stage, const std::uint8_t* memory, const std::int32_t* begins)
      : stage_(stage), memory_(memory), begins_(begins) {}

  OVE_HOST_DEVICE const std::uint8_t* operator()(int k, int line, int below) const {
    const StagedPlane& plane = stage_.planes[k];
    return memory_ + begins_[plane.owner * 2 * stage_.patch + 2 * line + below] + plane.to_owner;
  }

 private:
  const PatchStage& stage_;
  const std::uint8_t* memory_;
  const std::int32_t* begins_;
};

}  // namespace ove::cuda
