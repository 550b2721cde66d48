// Scores of a clip, and kept patches of many, on the GPU; host functions over heat.h and rank.h. Memory is the
// caller's, on the current device; nothing waits for the stream. All throw std::runtime_error where CUDA refuses.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "cuda/heat_tables.h"
#include "cuda/rank.h"

namespace ove::cuda {

// A clip's memory: clip_bytes() of it, in which so many pictures taken in, and sampled ones, have room.
struct ClipRoom {
  const std::byte* block = nullptr;  // HeatPlan::block()
  std::byte* memory = nullptr;
  std::int64_t pictures = 0, sampled = 0;
};

// Bytes for so many pictures taken in at a time, and so many sampled ones: the same number unless pictures accumulate.
std::int64_t clip_bytes(const HeatTables& tables, std::int64_t pictures, std::int64_t sampled);
std::int64_t rank_bytes(std::int64_t patches, std::int64_t clips);

// Takes in `count` pictures, as numbers `first` on; see heat.h.
void take_in(const HeatTables& tables, const ClipRoom& room, const PictureRecord* records, std::int64_t count,
             std::int64_t most_level_blocks, std::int64_t first, cudaStream_t stream);

void clear_sums(const HeatTables& tables, const ClipRoom& room, cudaStream_t stream);

// Adds the first `pictures` taken in to the sampled pictures [first, end) that they count for. Pictures are taken in
// anew from number 0 on behind that.
void accumulate(const HeatTables& tables, const ClipRoom& room, std::int64_t pictures, std::int64_t first,
                std::int64_t end, cudaStream_t stream);

// Measures the first `pictures` sampled ones: those taken in, or those that accumulate. Their scales are the three
// given ones or, with `scales_out`, those of the first picture come there; either may be null.
void measure(const HeatTables& tables, const ClipRoom& room, std::int64_t pictures, const float* given_scales,
             float* scales_out, cudaStream_t stream);

// Scores (pictures, rows, columns) of the pictures measured last.
void score(const HeatTables& tables, const ClipRoom& room, std::int64_t pictures, float* scores, cudaStream_t stream);

// The heat of one of them on the canvas.
void render(const HeatTables& tables, const ClipRoom& room, std::int64_t pictures, std::int64_t picture, float* canvas,
            cudaStream_t stream);

// Of a batch of clips in one go; see rank.h. Throws std::invalid_argument for more than 2^31 - 1 patches.
void rank_patches(const Ranking& ranking, std::byte* work, std::uint8_t* mask, std::int32_t* positions,
                  cudaStream_t stream);

}  // namespace ove::cuda
