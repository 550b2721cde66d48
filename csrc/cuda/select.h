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

// Bytes of a clip's arrays for so many pictures taken in, of the sums of so many sampled ones (0 where nothing
// accumulates), and of the memory to work in; sampled pictures are as many as those taken in unless they accumulate.
std::int64_t arrays_bytes(const HeatTables& tables, std::int64_t pictures);
std::int64_t sums_bytes(const HeatTables& tables, std::int64_t sampled);
std::int64_t heat_work_bytes(const HeatTables& tables, std::int64_t pictures, std::int64_t sampled);
std::int64_t rank_work_bytes(std::int64_t patches, std::int64_t clips);

// A clip's memory, in which so many pictures have room.
struct ClipMemory {
  const std::byte* block = nullptr;  // HeatPlan::block()
  std::byte *arrays = nullptr, *sums = nullptr, *work = nullptr;
  std::int64_t pictures = 0, sampled = 0;
};

// Takes in picture number `picture`, whose record lies at `record`, before those behind it.
void take_in(const HeatTables& tables, const ClipMemory& memory, const RecordSizes& sizes, const std::byte* record,
             std::int64_t picture, cudaStream_t stream);

// Has the first pictures taken in count for sampled ones, picture i for number sampled[i], ascending; `sums` are zeros
// before the first of them. Pictures are taken in anew from number 0 on behind that.
void accumulate(const HeatTables& tables, const ClipMemory& memory, std::span<const std::int64_t> sampled,
                cudaStream_t stream);

// Scores (pictures, rows, columns) of the first `pictures` sampled pictures: those taken in, or those that accumulate.
void score(const HeatTables& tables, const ClipMemory& memory, std::int64_t pictures, float* scores,
           cudaStream_t stream);

// The heat of sampled picture number `picture` on the canvas, after score().
void render(const HeatTables& tables, const ClipMemory& memory, std::int64_t pictures, std::int64_t picture,
            float* canvas, cudaStream_t stream);

// Of a batch of clips in one go; see rank.h. Throws std::invalid_argument for more than 2^31 - 1 patches.
void rank_patches(const Ranking& ranking, std::byte* work, std::uint8_t* mask, std::int32_t* positions,
                  cudaStream_t stream);

}  // namespace ove::cuda
