// Takes the place of csrc/cuda/executor.cuh where select.cu is compiled for the CPU: the same class over plain loops.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "host_executor.h"

namespace ove::cuda {

class StreamExecutor : public HostExecutor {
 public:
  StreamExecutor(cudaStream_t, void*, std::size_t) {}
  ~StreamExecutor() { all_operations() += operations(); }

  template <class Begins>
  static std::size_t sort_bytes(std::int64_t, std::int64_t, Begins) {
    return 0;
  }

  // Of all executors so far.
  static std::int64_t& all_operations() {
    static std::int64_t count = 0;
    return count;
  }
};

}  // namespace ove::cuda
