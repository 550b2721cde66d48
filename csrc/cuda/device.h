// Whether and where kernels can run, and what CUDA says when they cannot.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <string>

namespace ove::cuda {

// Throws std::runtime_error with CUDA's message and `action` unless `error` is cudaSuccess.
void check(cudaError_t error, const char* action);

// Whether there is an NVIDIA driver, which stays as it is.
bool has_driver();

// Why kernels cannot run on the device with this number, empty where they can. Initialises the driver, which processes
// forked from this one then cannot use.
std::string unavailable_reason(int device);

// The address (CUcontext) of the primary context of the current device, initialised if it was not. Throws
// std::runtime_error where CUDA refuses.
std::uintptr_t primary_context();

}  // namespace ove::cuda
