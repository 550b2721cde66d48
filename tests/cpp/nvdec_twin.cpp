// A driver and an NVDEC in plain memory, which libavcodec loads where links to this library are called libcuda.so.1 and
// libnvcuvid.so.1. It decodes nothing: pictures come from the file that OVE_NVDEC_TWIN names, NV12 or P016 of the coded
// size, in the order of their POC, and go bad when they are given back. Tests read what was called from
// ove_nvdec_twin_calls(). Offsets are those of NVIDIA's cuda.h and cuviddec.h.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#define OVE_EXPORT extern "C" __attribute__((visibility("default")))

namespace {

using Result = int;
constexpr Result kSuccess = 0, kInvalid = 1, kNotSupported = 801;
constexpr std::uintptr_t kContext = 0xc0de;  // that of cuda_twin.cpp
constexpr unsigned kPoison = 0xcd;

// What tests ask for.
struct Calls {
  std::int64_t decoders, decoded, mapped, most_mapped, now_mapped, copied;
  std::int64_t other_contexts;    // pushed, that are not kContext
  std::uint64_t stream, streams;  // of mapped pictures: the last one, and how often it was another than before
};

std::mutex mutex;
Calls calls{};
thread_local std::vector<std::uintptr_t> contexts;

template <class T>
T at(const void* record, std::size_t offset) {
  T value;
  std::memcpy(&value, static_cast<const std::byte*>(record) + offset, sizeof value);
  return value;
}

template <class T>
void set(void* record, std::size_t offset, T value) {
  std::memcpy(static_cast<std::byte*>(record) + offset, &value, sizeof value);
}

struct Decoder {
  std::size_t width, height, bytes;  // bytes of a sample
  bool h264;
  std::vector<int> poc;  // by surface
  std::map<std::uint64_t, std::unique_ptr<std::uint8_t[]>> pictures;

  std::size_t pitch() const { return (width * bytes + 255) / 256 * 256; }
  std::size_t rows() const { return height + height / 2; }
};

// Pictures that were given back stay readable, so that reading them is told by their samples.
std::vector<std::unique_ptr<std::uint8_t[]>> poisoned;

bool current() { return !contexts.empty() && contexts.back() == kContext; }

}  // namespace

OVE_EXPORT void ove_nvdec_twin_calls(Calls* to) {
  const std::lock_guard lock(mutex);
  *to = calls;
}

OVE_EXPORT Result cuInit(unsigned) { return kSuccess; }
OVE_EXPORT Result cuDeviceGetCount(int* count) {
  *count = 1;
  return kSuccess;
}
OVE_EXPORT Result cuDeviceGet(int* device, int) {
  *device = 0;
  return kSuccess;
}
OVE_EXPORT Result cuDeviceGetAttribute(int* value, int, int) {
  *value = 512;
  return kSuccess;
}
OVE_EXPORT Result cuGetErrorName(Result, const char** name) {
  *name = "TWIN";
  return kSuccess;
}
OVE_EXPORT Result cuGetErrorString(Result, const char** text) {
  *text = "the twin refuses";
  return kSuccess;
}
// The primary context is active, with flags as PyTorch leaves them.
OVE_EXPORT Result cuDevicePrimaryCtxGetState(int, unsigned* flags, int* active) {
  *flags = 0;
  *active = 1;
  return kSuccess;
}
OVE_EXPORT Result cuCtxPushCurrent_v2(std::uintptr_t context) {
  contexts.push_back(context);
  const std::lock_guard lock(mutex);
  calls.other_contexts += context != kContext;
  return kSuccess;
}
OVE_EXPORT Result cuCtxPopCurrent_v2(std::uintptr_t* context) {
  if (contexts.empty()) return kInvalid;
  *context = contexts.back();
  contexts.pop_back();
  return kSuccess;
}
OVE_EXPORT Result cuMemAlloc_v2(std::uint64_t* memory, std::size_t bytes) {
  *memory = reinterpret_cast<std::uint64_t>(std::malloc(bytes));
  return kSuccess;
}
OVE_EXPORT Result cuMemFree_v2(std::uint64_t memory) {
  std::free(reinterpret_cast<void*>(memory));
  return kSuccess;
}
// From device to device, as later versions of libavcodec copy what was mapped.
OVE_EXPORT Result cuMemcpy2DAsync_v2(const void* copy, std::uint64_t) {
  const auto* from = reinterpret_cast<const std::uint8_t*>(at<std::uint64_t>(copy, 32)) +
                     at<std::uint64_t>(copy, 8) * at<std::uint64_t>(copy, 48) + at<std::uint64_t>(copy, 0);
  auto* to = reinterpret_cast<std::uint8_t*>(at<std::uint64_t>(copy, 88)) +
             at<std::uint64_t>(copy, 64) * at<std::uint64_t>(copy, 104) + at<std::uint64_t>(copy, 56);
  for (std::uint64_t row = 0; row < at<std::uint64_t>(copy, 120); ++row) {
    std::memcpy(to + row * at<std::uint64_t>(copy, 104), from + row * at<std::uint64_t>(copy, 48),
                at<std::uint64_t>(copy, 112));
  }
  const std::lock_guard lock(mutex);
  ++calls.copied;
  return kSuccess;
}
OVE_EXPORT Result cuMemcpy2D_v2(const void* copy) { return cuMemcpy2DAsync_v2(copy, 0); }
OVE_EXPORT Result cuStreamSynchronize(std::uint64_t) { return kSuccess; }

// As current GPUs: 4:2:0 of 8 and 10 bits.
OVE_EXPORT Result cuvidGetDecoderCaps(void* caps) {
  if (!current()) return kInvalid;
  set<std::uint8_t>(caps, 24, at<int>(caps, 4) == 1 && at<unsigned>(caps, 8) <= 2);
  set<std::uint8_t>(caps, 25, 1);
  set<std::uint16_t>(caps, 26, 3);
  set<unsigned>(caps, 28, 8192);
  set<unsigned>(caps, 32, 8192);
  set<unsigned>(caps, 36, 262144);
  set<std::uint16_t>(caps, 40, 144);
  set<std::uint16_t>(caps, 42, 144);
  return kSuccess;
}

OVE_EXPORT Result cuvidCreateDecoder(void** decoder, const void* info) {
  if (!current()) return kInvalid;
  const auto width = at<unsigned long>(info, 96), height = at<unsigned long>(info, 104);
  const auto surfaces = at<unsigned long>(info, 16);
  if (width < 144 || height < 144) return kNotSupported;
  if (surfaces > 32) return kInvalid;
  const bool deep = at<int>(info, 88) == 1;
  *decoder = new Decoder{width, height, deep ? 2u : 1u, at<int>(info, 24) == 4, std::vector<int>(surfaces, -1), {}};
  const std::lock_guard lock(mutex);
  ++calls.decoders;
  return kSuccess;
}
OVE_EXPORT Result cuvidDestroyDecoder(void* decoder) {
  delete static_cast<Decoder*>(decoder);
  return kSuccess;
}
OVE_EXPORT Result cuvidDecodePicture(void* decoder, const void* picture) {
  auto& self = *static_cast<Decoder*>(decoder);
  const auto surface = static_cast<std::size_t>(at<int>(picture, 8));
  if (!current() || surface >= self.poc.size()) return kInvalid;
  // libavcodec counts the POC of H.264 from 2^16 on.
  self.poc[surface] = self.h264 ? (at<int>(picture, 280) & 0xffff) / 2 : at<int>(picture, 432);
  const std::lock_guard lock(mutex);
  ++calls.decoded;
  return kSuccess;
}
OVE_EXPORT Result cuvidMapVideoFrame64(void* decoder, int surface, std::uint64_t* picture, unsigned* pitch,
                                       const void* processing) {
  auto& self = *static_cast<Decoder*>(decoder);
  if (!current()) return kInvalid;
  const std::size_t line = self.width * self.bytes, size = line * self.rows();
  std::vector<char> samples(size);
  std::ifstream file(std::getenv("OVE_NVDEC_TWIN"), std::ios::binary);
  file.seekg(static_cast<std::streamoff>(size) * self.poc[static_cast<std::size_t>(surface)]);
  if (!file.read(samples.data(), static_cast<std::streamsize>(size))) return kInvalid;
  auto memory = std::make_unique<std::uint8_t[]>(self.pitch() * self.rows());
  for (std::size_t row = 0; row < self.rows(); ++row) {
    std::memcpy(memory.get() + row * self.pitch(), samples.data() + row * line, line);
  }
  *picture = reinterpret_cast<std::uint64_t>(memory.get());
  *pitch = static_cast<unsigned>(self.pitch());
  const std::lock_guard lock(mutex);
  self.pictures[*picture] = std::move(memory);
  const auto stream = at<std::uint64_t>(processing, 56);
  calls.streams += calls.mapped == 0 || stream != calls.stream;
  calls.stream = stream;
  ++calls.mapped;
  calls.most_mapped = std::max(calls.most_mapped, ++calls.now_mapped);
  return kSuccess;
}
OVE_EXPORT Result cuvidUnmapVideoFrame64(void* decoder, std::uint64_t picture) {
  auto& self = *static_cast<Decoder*>(decoder);
  const std::lock_guard lock(mutex);
  const auto found = self.pictures.find(picture);
  if (found == self.pictures.end()) return kInvalid;
  std::memset(found->second.get(), kPoison, self.pitch() * self.rows());
  poisoned.push_back(std::move(found->second));
  self.pictures.erase(found);
  --calls.now_mapped;
  return kSuccess;
}

// All else that libavcodec must find.
#define OVE_REFUSED(name) \
  OVE_EXPORT Result name() { return kNotSupported; }
OVE_REFUSED(cuDeviceGetName)
OVE_REFUSED(cuDeviceComputeCapability)
OVE_REFUSED(cuDeviceGetUuid)
OVE_REFUSED(cuCtxCreate_v2)
OVE_REFUSED(cuCtxSetLimit)
OVE_REFUSED(cuCtxDestroy_v2)
OVE_REFUSED(cuCtxGetCurrent)
OVE_REFUSED(cuCtxGetDevice)
OVE_REFUSED(cuMemAllocPitch_v2)
OVE_REFUSED(cuMemAllocManaged)
OVE_REFUSED(cuMemsetD8Async)
OVE_REFUSED(cuMemcpy)
OVE_REFUSED(cuMemcpyAsync)
OVE_REFUSED(cuMemcpyHtoD_v2)
OVE_REFUSED(cuMemcpyHtoDAsync_v2)
OVE_REFUSED(cuMemcpyDtoH_v2)
OVE_REFUSED(cuMemcpyDtoHAsync_v2)
OVE_REFUSED(cuMemcpyDtoD_v2)
OVE_REFUSED(cuMemcpyDtoDAsync_v2)
OVE_REFUSED(cuDevicePrimaryCtxRetain)
OVE_REFUSED(cuDevicePrimaryCtxRelease)
OVE_REFUSED(cuDevicePrimaryCtxSetFlags)
OVE_REFUSED(cuDevicePrimaryCtxReset)
OVE_REFUSED(cuStreamCreate)
OVE_REFUSED(cuStreamQuery)
OVE_REFUSED(cuStreamDestroy_v2)
OVE_REFUSED(cuStreamAddCallback)
OVE_REFUSED(cuStreamWaitEvent)
OVE_REFUSED(cuEventCreate)
OVE_REFUSED(cuEventDestroy_v2)
OVE_REFUSED(cuEventSynchronize)
OVE_REFUSED(cuEventQuery)
OVE_REFUSED(cuEventRecord)
OVE_REFUSED(cuLaunchKernel)
OVE_REFUSED(cuLinkCreate)
OVE_REFUSED(cuLinkAddData)
OVE_REFUSED(cuLinkComplete)
OVE_REFUSED(cuLinkDestroy)
OVE_REFUSED(cuModuleLoadData)
OVE_REFUSED(cuModuleUnload)
OVE_REFUSED(cuModuleGetFunction)
OVE_REFUSED(cuModuleGetGlobal)
OVE_REFUSED(cuTexObjectCreate)
OVE_REFUSED(cuTexObjectDestroy)
OVE_REFUSED(cuGLGetDevices_v2)
OVE_REFUSED(cuGraphicsGLRegisterImage)
OVE_REFUSED(cuGraphicsUnregisterResource)
OVE_REFUSED(cuGraphicsMapResources)
OVE_REFUSED(cuGraphicsUnmapResources)
OVE_REFUSED(cuGraphicsSubResourceGetMappedArray)
OVE_REFUSED(cuGraphicsResourceGetMappedPointer_v2)
OVE_REFUSED(cuArray3DCreate_v2)
OVE_REFUSED(cuArrayDestroy)
OVE_REFUSED(cuvidGetDecodeStatus)
OVE_REFUSED(cuvidReconfigureDecoder)
OVE_REFUSED(cuvidCtxLockCreate)
OVE_REFUSED(cuvidCtxLockDestroy)
OVE_REFUSED(cuvidCtxLock)
OVE_REFUSED(cuvidCtxUnlock)
OVE_REFUSED(cuvidCreateVideoSource)
OVE_REFUSED(cuvidCreateVideoSourceW)
OVE_REFUSED(cuvidDestroyVideoSource)
OVE_REFUSED(cuvidSetVideoSourceState)
OVE_REFUSED(cuvidGetVideoSourceState)
OVE_REFUSED(cuvidGetSourceVideoFormat)
OVE_REFUSED(cuvidGetSourceAudioFormat)
OVE_REFUSED(cuvidCreateVideoParser)
OVE_REFUSED(cuvidParseVideoData)
OVE_REFUSED(cuvidDestroyVideoParser)
