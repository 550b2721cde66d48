// Rows of packed hidden states, taken and put back by their numbers.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace ove::cuda {

// Contiguous rows of device memory.
struct Rows {
  void* data = nullptr;
  std::int64_t count = 0, bytes = 0;  // rows, and bytes of each
};

// `index` holds `packed.count` row numbers of `all`, in device memory; rows of both are as long. A number off the rows
// stops the kernel with an error that the next synchronisation reports. All throw std::invalid_argument for rows that
// do not fit each other, and std::runtime_error where the launch fails.

// packed[i] = all[index[i]]
void gather_rows(const Rows& all, const std::int64_t* index, const Rows& packed, cudaStream_t stream);
// all[index[i]] = packed[i]; which of several rows with one number is kept is not determined.
void scatter_rows(const Rows& all, const std::int64_t* index, const Rows& packed, cudaStream_t stream);

enum class Addend : std::uint8_t { kFloat16, kBfloat16, kFloat32, kFloat64 };

// all[index[i]] += packed[i], atomically, in no determined order.
void add_rows(const Rows& all, const std::int64_t* index, const Rows& packed, Addend type, cudaStream_t stream);

}  // namespace ove::cuda
