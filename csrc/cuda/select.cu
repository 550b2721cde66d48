#include "cuda/executor.cuh"
#include "cuda/heat.h"
#include "cuda/select.h"

namespace ove::cuda {

namespace {

// The clip, and memory for sorting behind what it works in.
struct Placed {
  Clip clip;
  void* temporary;
  std::size_t temporary_bytes;
};

std::size_t heat_sort_bytes(const HeatTables& t, std::int64_t pictures) {
  using saliency::Compensate;
  const std::int64_t fields = pictures * t.lists;
  const bool sorts = t.params.compensate == Compensate::kSimilarity || t.params.compensate == Compensate::kAffine;
  return sorts ? StreamExecutor::sort_bytes(fields, fields * saliency::kMostPoints, Evenly{saliency::kMostPoints}) : 0;
}

std::size_t rank_sort_bytes(std::int64_t patches, std::int64_t clips) {
  return StreamExecutor::sort_bytes(clips, patches, FirstPatches{nullptr, clips, patches});
}

ClipSums sums_of(const HeatTables& tables, const ClipMemory& memory) {
  Arena arena(memory.sums);
  return ClipSums(tables, memory.sampled, arena);
}

// So many of the pictures taken in.
Placed place(const HeatTables& tables, const ClipMemory& memory, std::int64_t pictures) {
  Arena arrays(memory.arrays), work(memory.work);
  const ClipArrays clip_arrays(tables, memory.pictures, arrays);
  const ClipWork clip_work(tables, memory.pictures, memory.sampled, work);
  return {{tables, memory.block, clip_arrays, clip_work, pictures},
          memory.work + work.used(),
          heat_sort_bytes(tables, memory.pictures)};
}

// So many of the sampled ones.
Placed place_sampled(const HeatTables& tables, const ClipMemory& memory, std::int64_t pictures) {
  Placed placed = place(tables, memory, pictures);
  if (tables.accumulates()) placed.clip = placed.clip.sampled(sums_of(tables, memory), pictures);
  return placed;
}

}  // namespace

std::int64_t arrays_bytes(const HeatTables& tables, std::int64_t pictures) {
  Arena arena(nullptr);
  const ClipArrays arrays(tables, pictures, arena);
  return arena.used();
}

std::int64_t sums_bytes(const HeatTables& tables, std::int64_t sampled) {
  Arena arena(nullptr);
  const ClipSums sums(tables, sampled, arena);
  return arena.used();
}

std::int64_t heat_work_bytes(const HeatTables& tables, std::int64_t pictures, std::int64_t sampled) {
  Arena arena(nullptr);
  const ClipWork work(tables, pictures, sampled, arena);
  return arena.used() + static_cast<std::int64_t>(heat_sort_bytes(tables, pictures));
}

std::int64_t rank_work_bytes(std::int64_t patches, std::int64_t clips) {
  Arena arena(nullptr);
  const RankWork work(patches, clips, arena);
  return arena.used() + static_cast<std::int64_t>(rank_sort_bytes(patches, clips));
}

void take_in(const HeatTables& tables, const ClipMemory& memory, const RecordSizes& sizes, const std::byte* record,
             std::int64_t picture, cudaStream_t stream) {
  Arena arena(memory.arrays);
  StreamExecutor executor(stream, nullptr, 0);
  take_in(executor, tables, memory.block, sizes, record, ClipArrays(tables, memory.pictures, arena), picture);
}

void accumulate(const HeatTables& tables, const ClipMemory& memory, std::span<const std::int64_t> sampled,
                cudaStream_t stream) {
  const Placed placed = place(tables, memory, std::ssize(sampled));
  StreamExecutor executor(stream, placed.temporary, placed.temporary_bytes);
  accumulate(executor, placed.clip, sums_of(tables, memory), sampled);
}

void score(const HeatTables& tables, const ClipMemory& memory, std::int64_t pictures, float* scores,
           cudaStream_t stream) {
  const Placed placed = place_sampled(tables, memory, pictures);
  StreamExecutor executor(stream, placed.temporary, placed.temporary_bytes);
  tables.accumulates() ? find_scales(executor, placed.clip) : measure(executor, placed.clip);
  score(executor, placed.clip, scores);
}

void render(const HeatTables& tables, const ClipMemory& memory, std::int64_t pictures, std::int64_t picture,
            float* canvas, cudaStream_t stream) {
  const Placed placed = place_sampled(tables, memory, pictures);
  StreamExecutor executor(stream, placed.temporary, placed.temporary_bytes);
  render(executor, placed.clip, picture, canvas);
}

void rank_patches(const Ranking& ranking, std::byte* work, std::uint8_t* mask, std::int32_t* positions,
                  cudaStream_t stream) {
  Arena arena(work);
  const RankWork rank_work(ranking.total, ranking.clip_count, arena);
  StreamExecutor executor(stream, work + arena.used(), rank_sort_bytes(ranking.total, ranking.clip_count));
  rank_patches(executor, ranking, rank_work, mask, positions);
}

}  // namespace ove::cuda
