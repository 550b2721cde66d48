// Runs the steps of heat.h and rank.h on a GPU, in the order of a stream.
#pragma once

#include <cuda_runtime.h>
#include <thrust/iterator/counting_iterator.h>
#include <thrust/iterator/transform_iterator.h>

#include <algorithm>
#include <cstdint>
#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_segmented_sort.cuh>
#include <limits>
#include <stdexcept>

#include "cuda/count_bytes.h"
#include "cuda/device.h"
#include "cuda/percentiles.h"

namespace ove::cuda {

namespace kernels {

constexpr int kThreads = 256;

// What `begins` says of the segments from `first` on.
template <class Begins>
struct From {
  Begins begins;
  std::int64_t first;
  __host__ __device__ std::int64_t operator()(std::int64_t segment) const { return begins(first + segment); }
};

template <class F>
__global__ void __launch_bounds__(kThreads) for_each(std::int64_t n, F f) {
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += stride) f(i);
}

// Counts of a share of a segment come together in shared memory, where they are less than 2^32. Neighbours often fall
// into one bin (most vectors are 0), so a thread adds up such a run by itself.
template <class F>
__global__ void __launch_bounds__(kThreads) count(Extent extent, int bins, unsigned long long* counts, F f) {
  extern __shared__ unsigned int shared[];
  for (std::int64_t s = blockIdx.y; s < extent.segments; s += gridDim.y) {
    for (int bin = threadIdx.x; bin < bins; bin += blockDim.x) shared[bin] = 0;
    __syncthreads();
    const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
    Binned run{-1, 0};
    for (std::int64_t part = blockIdx.z; part < extent.parts; part += gridDim.z) {
      for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < extent.n;
           i += stride) {
        const Binned b = f(s, part, static_cast<std::uint32_t>(i));
        if (b.bin < 0) continue;
        if (b.bin != run.bin) {
          if (run.bin >= 0) atomicAdd(shared + run.bin, run.weight);
          run = {b.bin, 0};
        }
        run.weight += b.weight;
      }
    }
    if (run.bin >= 0) atomicAdd(shared + run.bin, run.weight);
    __syncthreads();
    for (int bin = threadIdx.x; bin < bins; bin += blockDim.x) {
      if (shared[bin] != 0) atomicAdd(counts + s * bins + bin, static_cast<unsigned long long>(shared[bin]));
    }
    __syncthreads();
  }
}

// Each warp counts in bins of its own.
inline __global__ void __launch_bounds__(kThreads) count_bytes(std::int64_t segments, std::int64_t n, int bins,
                                                               unsigned long long* counts, const std::uint8_t* values) {
  constexpr int kValues = 256, kWarps = kThreads / 32;
  static_assert(kThreads == kValues);
  __shared__ unsigned int shared[kWarps][kValues];
  unsigned int* const own = shared[threadIdx.x / 32];
  for (std::int64_t s = blockIdx.y; s < segments; s += gridDim.y) {
    for (int warp = 0; warp < kWarps; ++warp) shared[warp][threadIdx.x] = 0;
    __syncthreads();
    count_bytes_share(values + s * n, n, static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x,
                      static_cast<std::int64_t>(gridDim.x) * kThreads,
                      [own](std::uint32_t value, std::uint32_t times) { atomicAdd(own + value, times); });
    __syncthreads();
    unsigned int sum = 0;
    for (int warp = 0; warp < kWarps; ++warp) sum += shared[warp][threadIdx.x];
    if (sum != 0) atomicAdd(counts + s * bins + threadIdx.x, static_cast<unsigned long long>(sum));
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
  void count(const Extent& extent, int bins, std::uint64_t* counts, F f) {
    if (extent.n <= 0 || extent.parts <= 0 || extent.segments <= 0) return;
    constexpr std::int64_t kShare = 64 * kernels::kThreads;  // values a block, more where there are too many blocks
    const std::int64_t across = std::min((extent.n + kShare - 1) / kShare, kMostShares);
    const std::int64_t deep = std::clamp<std::int64_t>(kMostShares / across, 1, extent.parts);
    const dim3 grid(static_cast<unsigned>(across), segments_at_once(extent.segments), static_cast<unsigned>(deep));
    kernels::count<<<grid, kernels::kThreads, bins * sizeof(unsigned), stream_>>>(
        extent, bins, reinterpret_cast<unsigned long long*>(counts), f);
    check(cudaGetLastError(), "counting on the GPU");
  }

  void count_bytes(std::int64_t segments, std::int64_t n, int bins, std::uint64_t* counts, const std::uint8_t* values) {
    if (n <= 0 || segments <= 0) return;
    constexpr std::int64_t kShare = 8 * kByteUnit * kernels::kThreads;
    const dim3 grid(static_cast<unsigned>(std::min((n + kShare - 1) / kShare, kMostShares)),
                    segments_at_once(segments));
    kernels::count_bytes<<<grid, kernels::kThreads, 0, stream_>>>(
        segments, n, bins, reinterpret_cast<unsigned long long*>(counts), values);
    check(cudaGetLastError(), "counting on the GPU");
  }

  void zero(void* pointer, std::int64_t bytes) {
    if (bytes > 0) check(cudaMemsetAsync(pointer, 0, static_cast<std::size_t>(bytes), stream_), "clearing memory");
  }

  template <class Begins>
  void sort(const std::uint64_t* keys, std::uint64_t* sorted, std::int64_t segments, std::int64_t total,
            Begins begins) {
    if (segments == 1) return sort(keys, sorted, total, 64);
    for (std::int64_t first = 0; first < segments && total > 0; first += kMostSegments) {
      std::size_t bytes = temporary_bytes_;
      check(run_sort(temporary_, bytes, keys, sorted, std::min(segments - first, kMostSegments), total,
                     kernels::From<Begins>{begins, first}, stream_),
            "sorting on the GPU");
    }
  }

  void sort(const std::uint64_t* keys, std::uint64_t* sorted, std::int64_t n, int bits) {
    if (n <= 0) return;
    std::size_t bytes = temporary_bytes_;
    check(cub::DeviceRadixSort::SortKeys(temporary_, bytes, keys, sorted, n, 0, bits, stream_), "sorting on the GPU");
  }

  // Enough for either.
  template <class Begins>
  static std::size_t sort_bytes(std::int64_t segments, std::int64_t total, Begins begins) {
    if (total <= 0) return 0;
    std::size_t bytes = 0, of_all = 0;
    const std::uint64_t* const keys = nullptr;
    std::uint64_t* const sorted = nullptr;
    check(run_sort(nullptr, bytes, keys, sorted, std::min(segments, kMostSegments), total,
                   kernels::From<Begins>{begins, 0}, nullptr),
          "sorting on the GPU");
    check(cub::DeviceRadixSort::SortKeys(nullptr, of_all, keys, sorted, total, 0, 64), "sorting on the GPU");
    return std::max(bytes, of_all);
  }

 private:
  static constexpr std::int64_t kMostBlocks = 1 << 20;
  static constexpr std::int64_t kMostShares = 4096;  // of a segment

  static unsigned segments_at_once(std::int64_t segments) {
    return static_cast<unsigned>(std::min<std::int64_t>(segments, 65535));
  }
  // CUB waits for the GPU to sort more segments than this at a time (300 where it does so earliest).
  static constexpr std::int64_t kMostSegments = 256;

  template <class Begins>
  static cudaError_t run_sort(void* temporary, std::size_t& bytes, const std::uint64_t* keys, std::uint64_t* sorted,
                              std::int64_t segments, std::int64_t total, Begins begins, cudaStream_t stream) {
    // Older versions of CUB count in int.
    if (total > std::numeric_limits<std::int32_t>::max()) throw std::invalid_argument("more than 2^31 - 1 to sort");
    const auto offsets = thrust::make_transform_iterator(thrust::make_counting_iterator(std::int64_t{0}), begins);
    return cub::DeviceSegmentedSort::SortKeys(temporary, bytes, keys, sorted, static_cast<std::int32_t>(total),
                                              static_cast<std::int32_t>(segments), offsets, offsets + 1, stream);
  }

  cudaStream_t stream_;
  void* temporary_;
  std::size_t temporary_bytes_;
};

}  // namespace ove::cuda
