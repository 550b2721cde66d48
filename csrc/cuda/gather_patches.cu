#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>

#include "cuda/device.h"
#include "cuda/gather_patches.h"

namespace ove::cuda {

namespace {

using tokens::AxisTaps;
using tokens::ClipPlanes;

constexpr int kThreads = 256;

// A block makes one row.
template <class Out>
__global__ void __launch_bounds__(kThreads)
    patch_rows(const ClipPlanes* __restrict__ clips, int clip_count, int patch,
               const std::int32_t* __restrict__ cu_seqlens, const std::int64_t* __restrict__ positions,
               Out* __restrict__ rows) {
  extern __shared__ __align__(alignof(AxisTaps)) unsigned char shared[];
  AxisTaps* const taps = reinterpret_cast<AxisTaps*>(shared);
  const std::int64_t n = blockIdx.x;
  int clip_number = 0;  // the last one that begins at or before row n
  for (int end = clip_count; end - clip_number > 1;) {
    const int middle = clip_number + (end - clip_number) / 2;
    (cu_seqlens[middle] <= n ? clip_number : end) = middle;
  }
  const ClipPlanes& clip = clips[clip_number];
  const std::int64_t frame = positions[3 * n], row = positions[3 * n + 1], column = positions[3 * n + 2];
  if (n < cu_seqlens[clip_number] || n >= cu_seqlens[clip_number + 1] || frame < 0 || frame >= clip.frames || row < 0 ||
      row >= clip.formula.rows || column < 0 || column >= clip.formula.columns) {
    __trap();
  }
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  tokens::make_patch_taps(clip.formula, static_cast<int>(row), static_cast<int>(column), thread, threads, taps);
  __syncthreads();
  Out* const out = rows + n * 3 * patch * patch;
  if (clip.sample_bytes == 1) {
    tokens::write_patch<std::uint8_t>(clip, frame, taps, thread, threads, out);
  } else {
    tokens::write_patch<std::uint16_t>(clip, frame, taps, thread, threads, out);
  }
}

template <class Out>
void launch(const ClipPlanes* clips, int clip_count, int patch, const std::int32_t* cu_seqlens,
            const std::int64_t* positions, std::int64_t count, void* rows, cudaStream_t stream) {
  const int threads = std::min(kThreads, (patch * patch + 31) / 32 * 32);
  const std::size_t taps = 2 * static_cast<std::size_t>(patch) * sizeof(AxisTaps);
  patch_rows<Out><<<static_cast<unsigned>(count), threads, taps, stream>>>(clips, clip_count, patch, cu_seqlens,
                                                                           positions, static_cast<Out*>(rows));
  check(cudaGetLastError(), "gather_patches");
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
