#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <type_traits>

#include "cuda/device.h"
#include "cuda/move_rows.h"
#include "cuda/rows.h"

namespace ove::cuda {

namespace {

constexpr int kThreads = 256;

enum class Move : std::uint8_t { kGather, kScatter, kAdd };

// 16 bytes of floating-point numbers, in as many Ts as they are.
template <class T>
struct Sixteen {
  uint4 bits;
};

template <class T>
__device__ void add_to(T* to, T value) {
  atomicAdd(to, value);
}

// From compute capability 9.0 on the memory adds 16 bytes at once, and sends nothing back; before, pairs are added one
// by one.
template <class T>
__device__ void add_to(Sixteen<T>* to, const Sixteen<T>& value) {
#if __CUDA_ARCH__ >= 900 && CUDART_VERSION >= 12010
  const uint4 bits = value.bits;
  const auto address = __cvta_generic_to_global(to);
  if constexpr (std::is_same_v<T, __nv_bfloat162>) {
    asm volatile("red.relaxed.gpu.global.add.noftz.v4.bf16x2 [%0], {%1, %2, %3, %4};" ::"l"(address), "r"(bits.x),
                 "r"(bits.y), "r"(bits.z), "r"(bits.w)
                 : "memory");
  } else if constexpr (std::is_same_v<T, __half2>) {
    asm volatile("red.relaxed.gpu.global.add.noftz.v4.f16x2 [%0], {%1, %2, %3, %4};" ::"l"(address), "r"(bits.x),
                 "r"(bits.y), "r"(bits.z), "r"(bits.w)
                 : "memory");
  } else {
    static_assert(std::is_same_v<T, float>);
    asm volatile("red.relaxed.gpu.global.add.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(address),
                 "f"(__uint_as_float(bits.x)), "f"(__uint_as_float(bits.y)), "f"(__uint_as_float(bits.z)),
                 "f"(__uint_as_float(bits.w))
                 : "memory");
  }
#else
  const auto* const values = reinterpret_cast<const T*>(&value.bits);
  auto* const places = reinterpret_cast<T*>(to);
#pragma unroll
  for (int i = 0; i < static_cast<int>(sizeof(uint4) / sizeof(T)); ++i) atomicAdd(places + i, values[i]);
#endif
}

// threadIdx.x goes along a row of `units`, threadIdx.y and the blocks from row to row.
template <Move move, class Unit>
__global__ void __launch_bounds__(kThreads)
    move_rows(Unit* __restrict__ all, std::int64_t all_count, const std::int64_t* __restrict__ index,
              Unit* __restrict__ packed, std::int64_t count, std::int64_t units) {
  const RowShare share{static_cast<std::int64_t>(blockIdx.x) * blockDim.y + threadIdx.y,
                       static_cast<std::int64_t>(gridDim.x) * blockDim.y, static_cast<int>(threadIdx.x),
                       static_cast<int>(blockDim.x)};
  move_share(
      all, all_count, index, packed, count, units, share,
      [](const Unit* one, const Unit* other) { return move == Move::kGather ? *one : *other; },
      [](Unit* one, Unit* other, const Unit& kept) {
        if constexpr (move == Move::kGather) {
          *other = kept;
        } else if constexpr (move == Move::kScatter) {
          *one = kept;
        } else {
          add_to(one, kept);
        }
      },
      [] { __trap(); });
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
  const std::int64_t rows = std::int64_t{threads.y} * kRowsInHand;  // of a block
  const auto blocks = static_cast<unsigned>((packed.count + rows - 1) / rows);
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

// By 16 bytes, or by pairs, for which the hardware has one instruction, where rows are made of them.
template <class Pair, class Single>
void add(const Rows& all, const std::int64_t* index, const Rows& packed, cudaStream_t stream) {
  if (made_of<Sixteen<Pair>>(all, packed)) return launch<Move::kAdd, Sixteen<Pair>>(all, index, packed, stream);
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
      return add<float, float>(all, index, packed, stream);
    case Addend::kFloat64:
      return launch<Move::kAdd, double>(all, index, packed, stream);
  }
}

}  // namespace ove::cuda
