#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>

#include "cuda/device.h"
#include "cuda/gather_patches.h"
#include "cuda/patch_stage.h"

namespace ove::cuda {

namespace {

using tokens::AxisTaps;
using tokens::ClipPlanes;

constexpr int kThreads = 128;

// What the threads of a block share, in this order: a PatchBlock, taps, and the stage's taps, begins of rows, and rows.
struct PatchBlock {
  ClipPlanes clip;
  PatchStage stage;
};

struct SharedLayout {
  int taps, across, begins, rows, bytes;  // distances from the beginning
};

OVE_HOST_DEVICE inline SharedLayout shared_layout(int patch, int capacity) {
  const auto aligned = [](int bytes) { return (bytes + kStageUnit - 1) / kStageUnit * kStageUnit; };
  SharedLayout layout{};
  layout.taps = aligned(static_cast<int>(sizeof(PatchBlock)));
  layout.across = aligned(layout.taps + 2 * patch * static_cast<int>(sizeof(AxisTaps)));
  layout.begins = layout.across + 2 * patch * static_cast<int>(sizeof(StagedTap));
  layout.rows = aligned(layout.begins + 6 * patch * static_cast<int>(sizeof(std::int32_t)));
  layout.bytes = layout.rows + capacity;
  return layout;
}

// Bytes that the rows of a patch may take. Those of 4K pictures on a canvas of 224 samples fit.
int stage_bytes(int patch) {
  constexpr int kMostShared = 48 << 10;
  const int wanted = std::clamp(52 * patch * patch, 4096, 32768);
  return std::min(wanted, kMostShared - shared_layout(patch, 0).bytes) / kStageUnit * kStageUnit;
}

template <class Sample, bool kPairs, class Out>
__device__ void make_row(const PatchBlock& block, std::int64_t frame, const AxisTaps* taps, const StageMemory& memory,
                         Out* row) {
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  const int patch = block.clip.formula.patch;
  if (block.stage.bytes < 0) {
    return tokens::write_patch<kPairs>(patch, tokens::StoredSamples<Sample>(block.clip, frame, taps), thread, threads,
                                       row);
  }
  fill_patch_stage(block.stage, block.clip, frame, taps, thread, threads, memory);
  __syncthreads();
  tokens::write_patch<kPairs>(patch, StagedSamples<Sample>(block.stage, block.clip, taps, memory), thread, threads,
                              row);
}

// A block makes rows that follow each other, which are mostly of one clip, and near each other in its pictures.
template <class Out, bool kPairs>
__global__ void __launch_bounds__(kThreads)
    patch_rows(const ClipPlanes* __restrict__ clips, int clip_count, int patch, int capacity,
               const std::int32_t* __restrict__ cu_seqlens, const std::int64_t* __restrict__ positions,
               std::int64_t count, Out* __restrict__ rows) {
  extern __shared__ __align__(kStageUnit) unsigned char shared[];
  const SharedLayout layout = shared_layout(patch, capacity);
  PatchBlock& block = *reinterpret_cast<PatchBlock*>(shared);
  auto* const taps = reinterpret_cast<AxisTaps*>(shared + layout.taps);
  const StageMemory memory{shared + layout.rows, reinterpret_cast<std::int32_t*>(shared + layout.begins),
                           reinterpret_cast<StagedTap*>(shared + layout.across)};
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  const std::int64_t end = count * (blockIdx.x + 1) / gridDim.x;
  int clip_number = -1;
  for (std::int64_t n = count * blockIdx.x / gridDim.x; n < end; ++n) {
    __syncthreads();  // nobody reads what the row before was made of
    if (clip_number < 0 || n >= cu_seqlens[clip_number + 1]) {
      clip_number = 0;  // the last one that begins at or before row n
      for (int behind = clip_count; behind - clip_number > 1;) {
        const int middle = clip_number + (behind - clip_number) / 2;
        (cu_seqlens[middle] <= n ? clip_number : behind) = middle;
      }
      static_assert(sizeof(ClipPlanes) % sizeof(std::uint32_t) == 0);
      const auto* const from = reinterpret_cast<const std::uint32_t*>(clips + clip_number);
      for (int i = thread; i < static_cast<int>(sizeof(ClipPlanes) / sizeof(*from)); i += threads) {
        reinterpret_cast<std::uint32_t*>(&block.clip)[i] = from[i];
      }
      __syncthreads();
    }
    const ClipPlanes& clip = block.clip;
    const std::int64_t frame = positions[3 * n], row = positions[3 * n + 1], column = positions[3 * n + 2];
    if (n < cu_seqlens[clip_number] || n >= cu_seqlens[clip_number + 1] || frame < 0 || frame >= clip.frames ||
        row < 0 || row >= clip.formula.rows || column < 0 || column >= clip.formula.columns) {
      __trap();
    }
    tokens::make_patch_taps(clip.formula, static_cast<int>(row), static_cast<int>(column), thread, threads, taps);
    __syncthreads();
    if (thread == 0) make_patch_stage(clip, taps, capacity, block.stage);
    __syncthreads();
    Out* const out = rows + n * 3 * patch * patch;
    if (clip.sample_bytes == 1) {
      make_row<std::uint8_t, kPairs>(block, frame, taps, memory, out);
    } else {
      make_row<std::uint16_t, kPairs>(block, frame, taps, memory, out);
    }
  }
}

template <class Out, bool kPairs>
void launch(const ClipPlanes* clips, int clip_count, int patch, const std::int32_t* cu_seqlens,
            const std::int64_t* positions, std::int64_t count, Out* rows, cudaStream_t stream) {
  const int jobs = patch * patch / (kPairs ? 2 : 1), threads = std::min(kThreads, (jobs + 31) / 32 * 32);
  const int capacity = stage_bytes(patch);
  const std::size_t shared = static_cast<std::size_t>(shared_layout(patch, capacity).bytes);
  const auto kernel = patch_rows<Out, kPairs>;
  int device = 0, processors = 0, at_once = 0;
  check(cudaGetDevice(&device), "gather_patches");
  check(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device), "gather_patches");
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&at_once, kernel, threads, shared), "gather_patches");
  const std::int64_t blocks = std::min<std::int64_t>(count, std::int64_t{processors} * std::max(at_once, 1));
  kernel<<<static_cast<unsigned>(blocks), threads, shared, stream>>>(clips, clip_count, patch, capacity, cu_seqlens,
                                                                     positions, count, rows);
  check(cudaGetLastError(), "gather_patches");
}

template <class Out>
void launch(const ClipPlanes* clips, int clip_count, int patch, const std::int32_t* cu_seqlens,
            const std::int64_t* positions, std::int64_t count, void* rows, cudaStream_t stream) {
  const bool pairs = patch % 2 == 0 && reinterpret_cast<std::uintptr_t>(rows) % (2 * sizeof(Out)) == 0;
  (pairs ? launch<Out, true> : launch<Out, false>)(clips, clip_count, patch, cu_seqlens, positions, count,
                                                   static_cast<Out*>(rows), stream);
}

}  // namespace

void gather_patches(const ClipPlanes* clips, int clip_count, int patch, const std::int32_t* cu_seqlens,
                    const std::int64_t* positions, std::int64_t count, TokenType type, void* rows,
                    cudaStream_t stream) {
  if (patch < 1 || patch > kMaxPatch) {
    throw std::invalid_argument("patch_size must be 1 to " + std::to_string(kMaxPatch) + " on a GPU");
  }
  if (count < 0 || count > std::numeric_limits<std::int32_t>::max() || (count > 0 && clip_count < 1)) {
    throw std::invalid_argument("positions must be at most 2^31 - 1, of at least one clip");
  }
  if (count == 0) return;
  switch (type) {
    case TokenType::kFloat32:
      return launch<float>(clips, clip_count, patch, cu_seqlens, positions, count, rows, stream);
    case TokenType::kFloat16:
      return launch<__half>(clips, clip_count, patch, cu_seqlens, positions, count, rows, stream);
    case TokenType::kBfloat16:
      return launch<__nv_bfloat16>(clips, clip_count, patch, cu_seqlens, positions, count, rows, stream);
  }
}

}  // namespace ove::cuda
