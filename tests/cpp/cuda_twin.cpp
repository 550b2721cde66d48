// The functions of csrc/cuda in plain loops, on the CPU: with the bindings they make a module like _cuda, on which the
// tests run what Python does with a GPU.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "cuda/device.h"
#include "cuda/gather_patches.h"
#include "cuda/move_rows.h"
#include "cuda/rows.h"
#include "cuda/select.cu"  // with twin/cuda/executor.cuh
#include "patch_runner.h"

namespace ove::cuda {

namespace {

// Shares of several threads, one after the other.
template <class Unit, class Load, class Store>
void for_rows(const Rows& all, const std::int64_t* index, const Rows& packed, Load load, Store store) {
  constexpr std::int64_t kGroups = 3;
  constexpr int kLanes = 5;
  const std::int64_t units = all.bytes / static_cast<std::int64_t>(sizeof(Unit));
  for (std::int64_t group = kGroups - 1; group >= 0; --group) {
    for (int lane = 0; lane < kLanes; ++lane) {
      move_share(static_cast<Unit*>(all.data), all.count, index, static_cast<Unit*>(packed.data), packed.count, units,
                 {group, kGroups, lane, kLanes}, load, store,
                 [] { throw std::out_of_range("a row number is off the rows"); });
    }
  }
}

template <class T>
void add(const Rows& all, const std::int64_t* index, const Rows& packed) {
  using Sum = std::conditional_t<std::is_same_v<T, double>, double, float>;
  for_rows<T>(
      all, index, packed, [](const T*, const T* other) { return *other; },
      [](T* one, T*, const T& kept) { *one = static_cast<T>(static_cast<Sum>(*one) + static_cast<Sum>(kept)); });
}

template <class Out>
void gather(const tokens::ClipPlanes* clips, int clip_count, int patch, const std::int32_t* cu_seqlens,
            const std::int64_t* positions, Out* rows) {
  PatchRunner runner(patch);
  for (int c = 0; c < clip_count; ++c) {
    for (std::int64_t n = cu_seqlens[c]; n < cu_seqlens[c + 1]; ++n) {
      const std::int64_t *p = positions + 3 * n, frame = p[0];
      const tokens::PatchFormula& formula = clips[c].formula;
      if (frame < 0 || frame >= clips[c].frames || p[1] < 0 || p[1] >= formula.rows || p[2] < 0 ||
          p[2] >= formula.columns) {
        throw std::out_of_range("a position is off its clip");
      }
      const tokens::PatchPosition at{static_cast<std::int32_t>(p[1]), static_cast<std::int32_t>(p[2])};
      runner.run(clips[c], frame, at, rows + n * 3 * patch * patch);
    }
  }
}

}  // namespace

bool has_driver() { return true; }

std::string unavailable_reason(int) { return ""; }

std::uintptr_t primary_context() { return 0xc0de; }  // tests/cpp/nvdec_twin.cpp knows it

void gather_rows(const Rows& all, const std::int64_t* index, const Rows& packed, cudaStream_t) {
  using Byte = std::uint8_t;
  for_rows<Byte>(
      all, index, packed, [](const Byte* one, const Byte*) { return *one; },
      [](Byte*, Byte* other, Byte kept) { *other = kept; });
}

void scatter_rows(const Rows& all, const std::int64_t* index, const Rows& packed, cudaStream_t) {
  using Byte = std::uint8_t;
  for_rows<Byte>(
      all, index, packed, [](const Byte*, const Byte* other) { return *other; },
      [](Byte* one, Byte*, Byte kept) { *one = kept; });
}

void add_rows(const Rows& all, const std::int64_t* index, const Rows& packed, Addend type, cudaStream_t) {
  switch (type) {
    case Addend::kFloat16:
      return add<__half>(all, index, packed);
    case Addend::kBfloat16:
      return add<__nv_bfloat16>(all, index, packed);
    case Addend::kFloat32:
      return add<float>(all, index, packed);
    case Addend::kFloat64:
      return add<double>(all, index, packed);
  }
}

void gather_patches(const tokens::ClipPlanes* clips, int clip_count, int patch, const std::int32_t* cu_seqlens,
                    const std::int64_t* positions, std::int64_t, TokenType type, void* rows, cudaStream_t) {
  switch (type) {
    case TokenType::kFloat32:
      return gather(clips, clip_count, patch, cu_seqlens, positions, static_cast<float*>(rows));
    case TokenType::kFloat16:
      return gather(clips, clip_count, patch, cu_seqlens, positions, static_cast<__half*>(rows));
    case TokenType::kBfloat16:
      return gather(clips, clip_count, patch, cu_seqlens, positions, static_cast<__nv_bfloat16*>(rows));
  }
}

}  // namespace ove::cuda

// Operations queued so far.
extern "C" __attribute__((visibility("default"))) std::int64_t ove_twin_operations() {
  return ove::cuda::StreamExecutor::all_operations();
}
