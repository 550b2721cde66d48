#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <stdexcept>

#include "cuda/device.h"
#include "cuda/rows.h"

namespace ove::cuda {

namespace {

constexpr int kThreads = 256;

enum class Move : std::uint8_t { kGather, kScatter, kAdd };

// threadIdx.x goes along a row of `units`, threadIdx.y and the blocks from row to row.
template <Move move, class Unit>
__global__ void __launch_bounds__(kThreads)
    move_rows(Unit* __restrict__ all, std::int64_t all_count, const std::int64_t* __restrict__ index,
              Unit* __restrict__ packed, std::int64_t count, std::int64_t units) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  if (i >= count) return;
  const std::int64_t number = index[i];
  if (number < 0 || number >= all_count) __trap();
  Unit* const one = all + number * units;
  Unit* const other = packed + i * units;
#pragma unroll 4
  for (std::int64_t u = threadIdx.x; u < units; u += blockDim.x) {
    if constexpr (move == Move::kGather) {
      other[u] = one[u];
    } else if constexpr (move == Move::kScatter) {
      one[u] = other[u];
    } else {
      atomicAdd(one + u, other[u]);
    }
  }
}

void check_rows(const Rows& all, const Rows& packed) {
  const bool valid = all.count >= 0 && packed.count >= 0 && all.bytes >= 0 && all.bytes == packed.bytes &&
                     packed.count <= std::numeric_limits<std::int32_t>::max();
  if (!valid) throw std::invalid_argument("rows must be as long as each other, and fewer than 2^31");
}

// Whether rows of both are whole numbers of Units, and lie where Units may.
template <class Unit>
bool made_of(const Rows& all, const Rows& packed) {
  const auto first = reinterpret_cast<std::uintptr_t>(all.data) | reinterpret_cast<std::uintptr_t>(packed.data);
  return (first | static_cast<std::uintptr_t>(all.bytes)) % sizeof(Unit) == 0;
}

template <Move move, class Unit>
void launch(const Rows& all, const std::int64_t* index, const Rows& packed, cudaStream_t stream) {
  const std::int64_t units = packed.bytes / static_cast<std::int64_t>(sizeof(Unit));
  if (packed.count == 0 || units == 0) return;
  unsigned across = 32;
  while (across < kThreads && across < units) across *= 2;
  const dim3 threads(across, kThreads / across);
  const auto blocks = static_cast<unsigned>((packed.count + threads.y - 1) / threads.y);
  move_rows<move><<<blocks, threads, 0, stream>>>(static_cast<Unit*>(all.data), all.count, index,
                                                  static_cast<Unit*>(packed.data), packed.count, units);
  check(cudaGetLastError(), "moving token rows");
}

template <Move move>
void copy(const Rows& all, const std::int64_t* index, const Rows& packed, cudaStream_t stream) {
  check_rows(all, packed);
  if (made_of<uint4>(all, packed)) return launch<move, uint4>(all, index, packed, stream);
  if (made_of<std::uint64_t>(all, packed)) return launch<move, std::uint64_t>(all, index, packed, stream);
  if (made_of<std::uint32_t>(all, packed)) return launch<move, std::uint32_t>(all, index, packed, stream);
  if (made_of<std::uint16_t>(all, packed)) return launch<move, std::uint16_t>(all, index, packed, stream);
  launch<move, std::uint8_t>(all, index, packed, stream);
}

// By pairs, for which the hardware has one instruction, where rows are made of them.
template <class Pair, class Single>
void add(const Rows& all, const std::int64_t* index, const Rows& packed, cudaStream_t stream) {
  made_of<Pair>(all, packed) ? launch<Move::kAdd, Pair>(all, index, packed, stream)
                             : launch<Move::kAdd, Single>(all, index, packed, stream);
}

}  // namespace

void gather_rows(const Rows& all, const std::int64_t* index, const Rows& packed, cudaStream_t stream) {
  copy<Move::kGather>(all, index, packed, stream);
}

void scatter_rows(const Rows& all, const std::int64_t* index, const Rows& packed, cudaStream_t stream) {
  copy<Move::kScatter>(all, index, packed, stream);
}

void add_rows(const Rows& all, const std::int64_t* index, const Rows& packed, Addend type, cudaStream_t stream) {
  check_rows(all, packed);
  switch (type) {
    case Addend::kFloat16:
      return add<__half2, __half>(all, index, packed, stream);
    case Addend::kBfloat16:
      return add<__nv_bfloat162, __nv_bfloat16>(all, index, packed, stream);
    case Addend::kFloat32:
      return launch<Move::kAdd, float>(all, index, packed, stream);
    case Addend::kFloat64:
      return launch<Move::kAdd, double>(all, index, packed, stream);
  }
}

}  // namespace ove::cuda
