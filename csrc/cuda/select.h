// Scores of a clip, and kept patches of many, on the GPU; host functions over heat.h and rank.h. Memory is the
// caller's, on the current device; nothing waits for the stream. All throw std::runtime_error where CUDA refuses.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "cuda/heat_tables.h"
#include "cuda/rank.h"

namespace ove::cuda {

// Bytes of a clip's arrays, and of the memory to work in, for so many pictures.
std::int64_t arrays_bytes(const HeatTables& tables, std::int64_t pictures);
std::int64_t heat_work_bytes(const HeatTables& tables, std::int64_t pictures);
std::int64_t rank_work_bytes(std::int64_t patches, std::int64_t clips);

// A clip's memory, in which `capacity` pictures have room.
struct ClipMemory {
  const std::byte* block = nullptr;  // HeatPlan::block()
  std::byte *arrays = nullptr, *work = nullptr;
  std::int64_t capacity = 0;
};

// Takes in picture number `picture`, whose record lies at `record`.
void take_in(const HeatTables& tables, const ClipMemory& memory, const RecordSizes& sizes, const std::byte* record,
             std::int64_t picture, cudaStream_t stream);

// Scores (pictures, rows, columns) of the first `pictures` pictures taken in.
void score(const HeatTables& tables, const ClipMemory& memory, std::int64_t pictures, float* scores,
           cudaStream_t stream);

// The heat of picture number `picture` on the canvas, after score().
void render(const HeatTables& tables, const ClipMemory& memory, std::int64_t pictures, std::int64_t picture,
            float* canvas, cudaStream_t stream);

// Of a batch of clips in one go; see rank.h. Throws std::invalid_argument for more than 2^31 - 1 patches.
void rank_patches(const Ranking& ranking, std::byte* work, std::uint8_t* mask, std::int32_t* positions,
                  cudaStream_t stream);

}  // namespace ove::cuda
