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
  int owner = 0;              // the component whose rows these are
  int first = 0, end = 0;     // bytes of the stored row, of all that share it, from sample 0 of the owner
  int bytes = 0, offset = 0;  // of a staged row, and from the stage's beginning to its first one; of owners
  std::int64_t to_owner = 0;  // bytes from the owner's sample 0 to this component's
};

struct PatchStage {
  std::array<StagedPlane, 3> planes;
  int components = 0, patch = 0;
  int bytes = 0;  // of all rows; -1 where they are too many

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
  stage.planes = {};
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

// A tap across as distances from sample 0 of a row, in bytes.
struct StagedTap {
  std::int32_t left, right;
  float fraction;
  std::int32_t covered;
};
static_assert(sizeof(StagedTap) == 16);

// Where the threads of a block bring what they make a patch of.
struct StageMemory {
  std::uint8_t* rows;    // PatchStage::bytes, where units may lie
  std::int32_t* begins;  // PatchStage::rows() distances from `rows` to sample 0 of each row
  StagedTap* across;     // of luma for each column of stored samples, then of chroma
};

// Brings every stride-th unit of the rows, and every stride-th tap, from `first` on.
OVE_HOST_DEVICE inline void fill_patch_stage(const PatchStage& stage, const tokens::ClipPlanes& clip,
                                             std::int64_t frame, const tokens::AxisTaps* taps, int first, int stride,
                                             const StageMemory& to) {
  const int lines = 2 * stage.patch;
  const tokens::StoredAxis &across = clip.formula.across, &down = clip.formula.down;
  for (int i = first; i < 2 * stage.patch; i += stride) {
    const bool chroma = i >= stage.patch;
    const tokens::AxisTaps& both = taps[chroma ? i - stage.patch : i];
    const tokens::Tap& tap = chroma ? both.chroma : both.luma;
    const int width = chroma ? across.chroma_samples : across.picture.length;
    const int step = static_cast<int>(clip.planes[chroma && stage.components > 1].step);
    const int left = tap.first * step;
    to.across[i] = {left, tap.first + 1 < width ? left + step : left, tap.fraction, both.covered};
  }
  for (int k = 0; k < stage.components; ++k) {
    const StagedPlane& plane = stage.planes[k];
    if (plane.owner != k) continue;
    const tokens::ClipPlane& stored = clip.planes[k];
    const int width = k > 0 ? across.chroma_samples : across.picture.length;
    const int height = k > 0 ? down.chroma_samples : down.picture.length;
    const std::uint8_t* const behind = stored.samples + (clip.frames - 1) * stored.frame_stride +
                                       (height - 1) * stored.row_stride + (width - 1) * stored.step + clip.sample_bytes;
    const int units = plane.bytes / kStageUnit;
    for (int i = first; i < lines * units; i += stride) {
      const int line = i / units, unit = i % units;
      const std::uint8_t* const row = stored_row(clip, frame, taps + stage.patch, k, line / 2, line % 2);
      const std::uint8_t *const begin = row + plane.first, *const end = row + plane.end;
      const int skipped = static_cast<int>(reinterpret_cast<std::uintptr_t>(begin) % kStageUnit);
      const std::uint8_t* const from = begin - skipped + unit * kStageUnit;
      std::uint8_t* const place = to.rows + plane.offset + i * kStageUnit;
      if (unit == 0) to.begins[k * lines + line] = plane.offset + line * plane.bytes + skipped - plane.first;
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

// tokens::StoredSamples of a filled stage.
template <class Sample>
class StagedSamples {
 public:
  OVE_HOST_DEVICE StagedSamples(const PatchStage& stage, const tokens::ClipPlanes& clip, const tokens::AxisTaps* taps,
                                const StageMemory& memory)
      : memory_(memory),
        down_(taps + stage.patch),
        cb_begins_(memory.begins + stage.planes[1].owner * 2 * stage.patch),
        cr_begins_(memory.begins + stage.planes[2].owner * 2 * stage.patch),
        to_cb_(static_cast<std::int32_t>(stage.planes[1].to_owner)),
        to_cr_(static_cast<std::int32_t>(stage.planes[2].to_owner)),
        patch_(stage.patch),
        low_bits_(clip.low_bits),
        turned_(clip.formula.turned),
        gray_(stage.components == 1),
        colors_(clip.formula) {}

  OVE_HOST_DEVICE std::array<float, 3> operator()(int line, int column) const {
    const int i = turned_ ? line : column, j = turned_ ? column : line;
    const tokens::AxisTaps& down = down_[j];
    const StagedTap luma = memory_.across[i];
    if (luma.covered == 0 || !down.covered) return colors_.black;
    const float y = value(memory_.begins, 0, j, luma, down.luma.fraction);
    if (gray_) return colors_.rgb(y, 0, 0);
    const StagedTap chroma = memory_.across[patch_ + i];
    const float cb = value(cb_begins_, to_cb_, j, chroma, down.chroma.fraction);
    return colors_.rgb(y, cb, value(cr_begins_, to_cr_, j, chroma, down.chroma.fraction));
  }

 private:
  OVE_HOST_DEVICE float value(const std::int32_t* begins, std::int32_t to_component, int line, const StagedTap& across,
                              float down) const {
    const std::uint8_t* const upper = memory_.rows + (begins[2 * line] + to_component);
    const std::uint8_t* const lower = memory_.rows + (begins[2 * line + 1] + to_component);
    return tokens::value_between<Sample>(upper, lower, across.left, across.right, across.fraction, down, low_bits_);
  }

  StageMemory memory_;
  const tokens::AxisTaps* down_;
  const std::int32_t *cb_begins_, *cr_begins_;
  std::int32_t to_cb_, to_cr_;
  int patch_, low_bits_;
  bool turned_, gray_;
  tokens::PatchColors colors_;
};

}  // namespace ove::cuda
