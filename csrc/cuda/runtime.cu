#include <cuda_runtime.h>

#include <array>
#include <mutex>
#include <new>
#include <stdexcept>

#include "cuda/runtime.h"

namespace fastconv::cuda {
namespace {

constexpr int kMostDevices = 64;

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  (void)cudaGetLastError();  // so that the next call does not meet it again
  if (error == cudaErrorMemoryAllocation) throw std::bad_alloc();
  throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
}

int attribute(cudaDeviceAttr which, int ordinal) {
  int value = 0;
  check(cudaDeviceGetAttribute(&value, which, ordinal), "cudaDeviceGetAttribute");
  return value;
}

Device read_device(int ordinal) {
  Device d;
  d.ordinal = ordinal;
  d.capability = 10 * attribute(cudaDevAttrComputeCapabilityMajor, ordinal) +
                 attribute(cudaDevAttrComputeCapabilityMinor, ordinal);
  d.multiprocessors = attribute(cudaDevAttrMultiProcessorCount, ordinal);
  d.shared_bytes = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, ordinal);
  d.cache_bytes = attribute(cudaDevAttrL2CacheSize, ordinal);
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, ordinal), "cudaGetDeviceProperties");
  d.name = properties.name;
  return d;
}

cudaStream_t native(Stream stream) { return static_cast<cudaStream_t>(stream); }

}  // namespace

const Device& device(int ordinal) {
  static std::array<std::once_flag, kMostDevices> read;
  static std::array<Device, kMostDevices> devices;
  if (ordinal < 0 || ordinal >= kMostDevices)
    throw std::runtime_error("there is no CUDA device " + std::to_string(ordinal));
  const auto i = static_cast<std::size_t>(ordinal);
  std::call_once(read[i], [&] { devices[i] = read_device(ordinal); });
  return devices[i];
}

CurrentDevice::CurrentDevice(int ordinal) : before_(ordinal) {
  check(cudaGetDevice(&before_), "cudaGetDevice");
  if (before_ != ordinal) check(cudaSetDevice(ordinal), "cudaSetDevice");
  if (before_ == ordinal) before_ = -1;
}

CurrentDevice::~CurrentDevice() {
  if (before_ >= 0) (void)cudaSetDevice(before_);
}

void* allocate(std::int64_t bytes, Stream stream) {
  void* memory = nullptr;
  check(cudaMallocAsync(&memory, static_cast<std::size_t>(bytes), native(stream)), "cudaMallocAsync");
  return memory;
}

void give_back(void* memory, Stream stream) { (void)cudaFreeAsync(memory, native(stream)); }

void fill_zeros(void* memory, std::int64_t bytes, Stream stream) {
  check(cudaMemsetAsync(memory, 0, static_cast<std::size_t>(bytes), native(stream)), "cudaMemsetAsync");
}

void wait(Stream stream) { check(cudaStreamSynchronize(native(stream)), "a kernel of this stream failed"); }

}  // namespace fastconv::cuda
