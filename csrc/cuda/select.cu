#include "cuda/executor.cuh"
#include "cuda/heat.h"
#include "cuda/select.h"

namespace ove::cuda {

namespace {

std::size_t heat_sort_bytes(const HeatTables& t, std::int64_t pictures) {
  using saliency::Compensate;
  const std::int64_t fields = pictures * t.lists;
  const bool sorts = t.params.compensate == Compensate::kSimilarity || t.params.compensate == Compensate::kAffine;
  return sorts ? StreamExecutor::sort_bytes(fields, fields * saliency::kMostPoints, Evenly{saliency::kMostPoints}) : 0;
}

std::size_t rank_sort_bytes(std::int64_t patches, std::int64_t clips) {
  return StreamExecutor::sort_bytes(clips, patches, FirstPatches{nullptr, clips, patches});
}

// A clip in its room, and what runs its steps; memory for sorting lies behind the clip's.
struct Work {
  Work(const HeatTables& tables, const ClipRoom& room, cudaStream_t stream)
      : arena(room.memory),
        memory(tables, room.pictures, room.sampled, arena),
        executor(stream, room.memory + arena.used(), heat_sort_bytes(tables, room.pictures)),
        clip{tables, room.block, memory.arrays, memory.work, room.pictures} {}

  // The first `count` sampled pictures.
  Clip sampled(std::int64_t count) const {
    if (clip.tables.accumulates()) return clip.sampled(memory.sums, count);
    return taken_in(count);
  }
  Clip taken_in(std::int64_t count) const {
    Clip first = clip;
    first.pictures = count;
    return first;
  }

  Arena arena;
  ClipMemory memory;
  StreamExecutor executor;
  Clip clip;
};

}  // namespace

std::int64_t clip_bytes(const HeatTables& tables, std::int64_t pictures, std::int64_t sampled) {
  Arena arena(nullptr);
  const ClipMemory memory(tables, pictures, sampled, arena);
  return arena.used() + static_cast<std::int64_t>(heat_sort_bytes(tables, pictures));
}

std::int64_t rank_bytes(std::int64_t patches, std::int64_t clips) {
  Arena arena(nullptr);
  const RankWork work(patches, clips, arena);
  return arena.used() + static_cast<std::int64_t>(rank_sort_bytes(patches, clips));
}

void take_in(const HeatTables& tables, const ClipRoom& room, const PictureRecord* records, std::int64_t count,
             std::int64_t most_level_blocks, std::int64_t first, cudaStream_t stream) {
  Work work(tables, room, stream);
  take_in(work.executor, tables, records, count, most_level_blocks, work.memory.arrays, first);
}

void clear_sums(const HeatTables& tables, const ClipRoom& room, cudaStream_t stream) {
  Work work(tables, room, stream);
  clear_sums(work.executor, tables, work.memory.sums, room.sampled);
}

void accumulate(const HeatTables& tables, const ClipRoom& room, std::int64_t pictures, std::int64_t first,
                std::int64_t end, cudaStream_t stream) {
  Work work(tables, room, stream);
  accumulate(work.executor, work.taken_in(pictures), work.memory.sums, first, end);
}

void measure(const HeatTables& tables, const ClipRoom& room, std::int64_t pictures, const float* given_scales,
             float* scales_out, cudaStream_t stream) {
  Work work(tables, room, stream);
  measure(work.executor, work.sampled(pictures), given_scales, scales_out);
}

void score(const HeatTables& tables, const ClipRoom& room, std::int64_t pictures, float* scores, cudaStream_t stream) {
  Work work(tables, room, stream);
  score(work.executor, work.sampled(pictures), scores);
}

void render(const HeatTables& tables, const ClipRoom& room, std::int64_t pictures, std::int64_t picture, float* canvas,
            cudaStream_t stream) {
  Work work(tables, room, stream);
  render(work.executor, work.sampled(pictures), picture, canvas);
}

void rank_patches(const Ranking& ranking, std::byte* work, std::uint8_t* mask, std::int32_t* positions,
                  cudaStream_t stream) {
  Arena arena(work);
  const RankWork rank_work(ranking.total, ranking.clip_count, arena);
  StreamExecutor executor(stream, work + arena.used(), rank_sort_bytes(ranking.total, ranking.clip_count));
  rank_patches(executor, ranking, rank_work, mask, positions);
}

}  // namespace ove::cuda
