// tokens::PatchGather on the GPU, for a batch of clips.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "tokens/patch_formula.h"

namespace ove::cuda {

enum class TokenType : std::uint8_t { kFloat32, kFloat16, kBfloat16 };

// The taps of a patch lie in shared memory, which holds so many.
inline constexpr int kMaxPatch = 512;

// Patches are not embedded here too: bench/cuda.py tells what that could save, and measures it.
//
// All pointers are to memory of the current device. clip c has the rows cu_seqlens[c] to cu_seqlens[c + 1] of
// `positions` (count, 3): frame, patch row, patch column; every row of `rows` is (3, patch, patch), flattened.
// All clips have patches of `patch` samples. A position off its clip's frames or grid, or a row of no clip, stops the
// kernel with an error that the next synchronisation reports. Throws std::invalid_argument for sizes that no kernel
// takes, and std::runtime_error where the launch fails.
void gather_patches(const tokens::ClipPlanes* clips, int clip_count, int patch, const std::int32_t* cu_seqlens,
                    const std::int64_t* positions, std::int64_t count, TokenType type, void* rows, cudaStream_t stream);

}  // namespace ove::cuda
