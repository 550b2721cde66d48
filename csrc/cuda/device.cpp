#include "cuda/device.h"

#include <stdexcept>

struct CUctx_st;  // what cuda.h's CUcontext points to

namespace ove::cuda {

namespace {

constexpr int kMinMajor = 8;  // of the compute capability

// As CUDA writes it in a number: 13000 is 13.0.
std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

}  // namespace

void check(cudaError_t error, const char* action) {
  if (error == cudaSuccess) return;
  throw std::runtime_error(std::string(action) + ": " + cudaGetErrorString(error) + " (" + cudaGetErrorName(error) +
                           ")");
}

bool has_driver() {
  int driver = 0;
  return cudaDriverGetVersion(&driver) == cudaSuccess && driver != 0;
}

std::string unavailable_reason(int device) {
  if (!has_driver()) return "there is no NVIDIA driver on this machine";
  int driver = 0;
  static_cast<void>(cudaDriverGetVersion(&driver));
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaErrorInsufficientDriver) {
    return "the NVIDIA driver is for CUDA " + version_text(driver) + ", older than the CUDA " +
           version_text(CUDART_VERSION) + " that the kernels were built with; update the driver";
  }
  if (error == cudaErrorNoDevice || (error == cudaSuccess && count == 0)) {
    return "no CUDA device is visible; CUDA_VISIBLE_DEVICES may hide it";
  }
  if (error != cudaSuccess) return std::string("CUDA cannot start: ") + cudaGetErrorString(error);
  if (device < 0 || device >= count) {
    return "there is no CUDA device " + std::to_string(device) + ": " + std::to_string(count) + " visible, from 0";
  }
  int major = 0, minor = 0;
  if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) != cudaSuccess ||
      cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device) != cudaSuccess) {
    return "CUDA device " + std::to_string(device) + " does not answer";
  }
  if (major < kMinMajor) {
    return "CUDA device " + std::to_string(device) + " has compute capability " + std::to_string(major) + "." +
           std::to_string(minor) + ", and " + std::to_string(kMinMajor) + ".0 or later is needed";
  }
  return "";
}

std::uintptr_t primary_context() {
  check(cudaFree(nullptr), "initialising CUDA");
  void* entry = nullptr;
  cudaDriverEntryPointQueryResult found{};
#if CUDART_VERSION >= 12050
  constexpr unsigned kVersion = 4000;
  check(cudaGetDriverEntryPointByVersion("cuCtxGetCurrent", &entry, kVersion, cudaEnableDefault, &found),
        "finding cuCtxGetCurrent");
#else
  check(cudaGetDriverEntryPoint("cuCtxGetCurrent", &entry, cudaEnableDefault, &found), "finding cuCtxGetCurrent");
#endif
  CUctx_st* context = nullptr;
  if (found != cudaDriverEntryPointSuccess || reinterpret_cast<int (*)(CUctx_st**)>(entry)(&context) != 0 ||
      context == nullptr) {
    throw std::runtime_error("the NVIDIA driver names no current context; update the driver");
  }
  return reinterpret_cast<std::uintptr_t>(context);
}

}  // namespace ove::cuda
