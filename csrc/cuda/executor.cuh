// Runs the steps of heat.h and rank.h on a GPU, in the order of a stream.
#pragma once

#include <cuda_runtime.h>
#include <thrust/iterator/counting_iterator.h>
#include <thrust/iterator/transform_iterator.h>

#include <algorithm>
#include <cstdint>
#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_segmented_sort.cuh>

#include "cuda/device.h"
#include "cuda/percentiles.h"

namespace ove::cuda {

namespace kernels {

constexpr int kThreads = 256;

struct Times {
  std::int64_t n;
  __host__ __device__ std::int64_t operator()(std::int64_t segment) const { return segment * n; }
};

template <class F>
__global__ void __launch_bounds__(kThreads) for_each(std::int64_t n, F f) {
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += stride) f(i);
}

// Counts of a share of a segment come together in shared memory, where they are less than 2^32.
template <class F>
__global__ void __launch_bounds__(kThreads)
    count(std::int64_t segments, std::int64_t n, int bins, unsigned long long* counts, F f) {
  extern __shared__ unsigned int shared[];
  for (std::int64_t s = blockIdx.y; s < segments; s += gridDim.y) {
    for (int bin = threadIdx.x; bin < bins; bin += blockDim.x) shared[bin] = 0;
    __syncthreads();
    const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
    for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += stride) {
      const Binned b = f(s, i);
      if (b.bin >= 0) atomicAdd(shared + b.bin, b.weight);
    }
    __syncthreads();
    for (int bin = threadIdx.x; bin < bins; bin += blockDim.x) {
      if (shared[bin] != 0) atomicAdd(counts + s * bins + bin, static_cast<unsigned long long>(shared[bin]));
    }
    __syncthreads();
  }
}

}  // namespace kernels

class StreamExecutor {
 public:
  // `temporary` is memory for sorting, as much as sort_bytes() says.
  StreamExecutor(cudaStream_t stream, void* temporary, std::size_t temporary_bytes)
      : stream_(stream), temporary_(temporary), temporary_bytes_(temporary_bytes) {}

  template <class F>
  void for_each(std::int64_t n, F f) {
    if (n <= 0) return;
    const std::int64_t blocks = std::min<std::int64_t>((n + kernels::kThreads - 1) / kernels::kThreads, kMostBlocks);
    kernels::for_each<<<static_cast<unsigned>(blocks), kernels::kThreads, 0, stream_>>>(n, f);
    check(cudaGetLastError(), "a step on the GPU");
  }

  template <class F>
  void count(std::int64_t segments, std::int64_t n, int bins, std::uint64_t* counts, F f) {
    if (n <= 0 || segments <= 0) return;
    constexpr std::int64_t kShare = 64 * kernels::kThreads;  // samples a block, more where there are too many blocks
    const auto blocks = static_cast<unsigned>(std::min<std::int64_t>((n + kShare - 1) / kShare, 4096));
    const dim3 grid(blocks, static_cast<unsigned>(std::min<std::int64_t>(segments, 65535)));
    kernels::count<<<grid, kernels::kThreads, bins * sizeof(unsigned), stream_>>>(
        segments, n, bins, reinterpret_cast<unsigned long long*>(counts), f);
    check(cudaGetLastError(), "counting on the GPU");
  }

  void zero(void* pointer, std::int64_t bytes) {
    if (bytes > 0) check(cudaMemsetAsync(pointer, 0, static_cast<std::size_t>(bytes), stream_), "clearing memory");
  }

  void sort(const std::uint64_t* keys, std::uint64_t* sorted, std::int64_t segments, std::int64_t n) {
    if (n <= 0 || segments <= 0) return;
    std::size_t bytes = temporary_bytes_;
    check(run_sort(temporary_, bytes, keys, sorted, segments, n, stream_), "sorting on the GPU");
  }

  static std::size_t sort_bytes(std::int64_t segments, std::int64_t n) {
    if (n <= 0 || segments <= 0) return 0;
    std::size_t bytes = 0;
    check(run_sort(nullptr, bytes, nullptr, nullptr, segments, n, nullptr), "sorting on the GPU");
    return bytes;
  }

 private:
  static constexpr std::int64_t kMostBlocks = 1 << 20;

  static cudaError_t run_sort(void* temporary, std::size_t& bytes, const std::uint64_t* keys, std::uint64_t* sorted,
                              std::int64_t segments, std::int64_t n, cudaStream_t stream) {
    if (segments == 1) {
      return cub::DeviceRadixSort::SortKeys(temporary, bytes, keys, sorted, n, 0, 64, stream);
    }
    const auto begins =
        thrust::make_transform_iterator(thrust::make_counting_iterator(std::int64_t{0}), kernels::Times{n});
    return cub::DeviceSegmentedSort::SortKeys(temporary, bytes, keys, sorted, segments * n, segments, begins,
                                              begins + 1, stream);
  }

  cudaStream_t stream_;
  void* temporary_;
  std::size_t temporary_bytes_;
};

}  // namespace ove::cuda
