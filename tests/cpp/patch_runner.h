// Makes patch rows as a block of the GPU's kernel does, thread after thread in plain loops.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "cuda/patch_stage.h"
#include "tokens/patch_formula.h"

namespace ove::cuda {

class PatchRunner {
 public:
  // Patches of so many samples a side; their rows may take `capacity` bytes, else they are read where they are stored.
  explicit PatchRunner(int patch, int threads = 7, int capacity = 1 << 16)
      : patch_(patch),
        threads_(threads),
        capacity_(capacity),
        taps_(2 * static_cast<std::size_t>(patch)),
        across_(2 * static_cast<std::size_t>(patch)),
        begins_(6 * static_cast<std::size_t>(patch)),
        staged_(static_cast<std::size_t>(capacity) / kStageUnit) {}

  // True if the rows were brought nearer.
  template <class Out>
  bool run(const tokens::ClipPlanes& clip, std::int64_t frame, tokens::PatchPosition at, Out* row) {
    return clip.sample_bytes == 1 ? run<std::uint8_t>(clip, frame, at, row) : run<std::uint16_t>(clip, frame, at, row);
  }

 private:
  struct alignas(kStageUnit) Unit {
    std::uint8_t bytes[kStageUnit];
  };

  template <class Sample, class Out>
  bool run(const tokens::ClipPlanes& clip, std::int64_t frame, tokens::PatchPosition at, Out* row) {
    const auto all = [this](auto part) {
      for (int thread = threads_ - 1; thread >= 0; --thread) part(thread);
    };
    all([&](int t) { tokens::make_patch_taps(clip.formula, at.row, at.column, t, threads_, taps_.data()); });
    PatchStage stage;
    make_patch_stage(clip, taps_.data(), capacity_, stage);
    if (stage.bytes < 0) {
      write(tokens::StoredSamples<Sample>(clip, frame, taps_.data()), row);
      return false;
    }
    const StageMemory memory{reinterpret_cast<std::uint8_t*>(staged_.data()), begins_.data(), across_.data()};
    all([&](int t) { fill_patch_stage(stage, clip, frame, taps_.data(), t, threads_, memory); });
    write(StagedSamples<Sample>(stage, clip, taps_.data(), memory), row);
    return true;
  }

  template <class Samples, class Out>
  void write(const Samples& samples, Out* row) {
    const bool pairs = patch_ % 2 == 0 && reinterpret_cast<std::uintptr_t>(row) % (2 * sizeof(Out)) == 0;
    for (int thread = threads_ - 1; thread >= 0; --thread) {
      if (pairs) {
        tokens::write_patch<true>(patch_, samples, thread, threads_, row);
      } else {
        tokens::write_patch<false>(patch_, samples, thread, threads_, row);
      }
    }
  }

  int patch_, threads_, capacity_;
  std::vector<tokens::AxisTaps> taps_;
  std::vector<StagedTap> across_;
  std::vector<std::int32_t> begins_;
  std::vector<Unit> staged_;
};

}  // namespace ove::cuda
