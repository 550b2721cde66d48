// The functions of csrc/cuda in plain loops, on the CPU: with the bindings they make a module like _cuda, on which the
// tests run what Python does with a GPU.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstring>
#include <stdexcept>
#include <string>

#include "cuda/device.h"
#include "cuda/gather_patches.h"
#include "cuda/rows.h"
#include "cuda/select.cu"  // with twin/cuda/executor.cuh

namespace ove::cuda {

namespace {

template <class F>
void for_rows(const Rows& all, const std::int64_t* index, const Rows& packed, F f) {
  for (std::int64_t i = 0; i < packed.count; ++i) {
    if (index[i] < 0 || index[i] >= all.count) throw std::out_of_range("a row number is off the rows");
    f(static_cast<std::byte*>(all.data) + index[i] * all.bytes, static_cast<std::byte*>(packed.data) + i * all.bytes);
  }
}

template <class T>
void add_to(std::byte* row, const std::byte* other, std::int64_t bytes) {
  auto* to = reinterpret_cast<T*>(row);
  const auto* from = reinterpret_cast<const T*>(other);
  for (std::int64_t i = 0; i < bytes / static_cast<std::int64_t>(sizeof(T)); ++i) {
    to[i] = static_cast<T>(static_cast<float>(to[i]) + static_cast<float>(from[i]));
  }
}

template <class Out>
void gather(const tokens::ClipPlanes* clips, int clip_count, int patch, const std::int32_t* cu_seqlens,
            const std::int64_t* positions, Out* rows) {
  std::vector<tokens::AxisTaps> taps(2 * static_cast<std::size_t>(patch));
  for (int c = 0; c < clip_count; ++c) {
    for (std::int64_t n = cu_seqlens[c]; n < cu_seqlens[c + 1]; ++n) {
      const std::int64_t *p = positions + 3 * n, frame = p[0];
      const tokens::PatchFormula& formula = clips[c].formula;
      if (frame < 0 || frame >= clips[c].frames || p[1] < 0 || p[1] >= formula.rows || p[2] < 0 ||
          p[2] >= formula.columns) {
        throw std::out_of_range("a position is off its clip");
      }
      tokens::make_patch_taps(formula, static_cast<int>(p[1]), static_cast<int>(p[2]), 0, 1, taps.data());
      Out* const row = rows + n * 3 * patch * patch;
      if (clips[c].sample_bytes == 1) {
        tokens::write_patch<std::uint8_t>(clips[c], frame, taps.data(), 0, 1, row);
      } else {
        tokens::write_patch<std::uint16_t>(clips[c], frame, taps.data(), 0, 1, row);
      }
    }
  }
}

}  // namespace

std::string unavailable_reason(int) { return ""; }

std::uintptr_t primary_context() { return 0xc0de; }  // tests/cpp/nvdec_twin.cpp knows it

void gather_rows(const Rows& all, const std::int64_t* index, const Rows& packed, cudaStream_t) {
  for_rows(all, index, packed,
           [&](std::byte* row, std::byte* other) { std::memcpy(other, row, static_cast<std::size_t>(all.bytes)); });
}

void scatter_rows(const Rows& all, const std::int64_t* index, const Rows& packed, cudaStream_t) {
  for_rows(all, index, packed,
           [&](std::byte* row, std::byte* other) { std::memcpy(row, other, static_cast<std::size_t>(all.bytes)); });
}

void add_rows(const Rows& all, const std::int64_t* index, const Rows& packed, Addend type, cudaStream_t) {
  for_rows(all, index, packed, [&](std::byte* row, std::byte* other) {
    switch (type) {
      case Addend::kFloat16:
        return add_to<__half>(row, other, all.bytes);
      case Addend::kBfloat16:
        return add_to<__nv_bfloat16>(row, other, all.bytes);
      case Addend::kFloat32:
        return add_to<float>(row, other, all.bytes);
      case Addend::kFloat64:
        return add_to<double>(row, other, all.bytes);
    }
  });
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
