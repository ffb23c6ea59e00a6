// Starts a kernel (device.h) on a stream, with errors of the launch itself as exceptions.
#pragma once

#include <stdexcept>
#include <string>
#include <type_traits>

#include "cuda/device.h"
#include "cuda/runtime.h"

namespace fastconv::cuda {

#ifdef FASTCONV_EMULATED

template <class Kernel>
void launch(Stream, std::int64_t blocks, std::int64_t shared_bytes, const typename Kernel::Arguments& a) {
  ++emulation::launches(typeid(Kernel));
  emulation::run_grid(
      blocks, Kernel::kThreads, shared_bytes,
      [](const void* arguments) { Kernel::run(*static_cast<const typename Kernel::Arguments*>(arguments)); },
      &a);
}

#else

// Kernel::kResidentBlocks, or 0 where a kernel leaves that open.
template <class Kernel, class = void>
constexpr int kResidentBlocks = 0;
template <class Kernel>
constexpr int kResidentBlocks<Kernel, std::void_t<decltype(Kernel::kResidentBlocks)> > =
    Kernel::kResidentBlocks;

template <class Kernel>
__global__ void __launch_bounds__(Kernel::kThreads, kResidentBlocks<Kernel>)
    enter(const __grid_constant__ typename Kernel::Arguments arguments) {
  Kernel::run(arguments);
}

template <class Kernel>
void launch(Stream stream, std::int64_t blocks, std::int64_t shared_bytes,
            const typename Kernel::Arguments& a) {
  constexpr std::int64_t kMostBlocks = 0x7fffffff, kGivenUnasked = 48 << 10;
  if (blocks == 0) return;
  if (blocks > kMostBlocks) throw std::runtime_error("a kernel of more than 2^31 - 1 blocks");
  cudaError_t error = cudaSuccess;
  if (shared_bytes > kGivenUnasked) {
    error = cudaFuncSetAttribute(enter<Kernel>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 static_cast<int>(shared_bytes));
  }
  if (error == cudaSuccess) {
    void* arguments[] = {const_cast<typename Kernel::Arguments*>(&a)};
    error = cudaLaunchKernel(enter<Kernel>, dim3(static_cast<unsigned>(blocks)), dim3(Kernel::kThreads),
                             arguments, static_cast<std::size_t>(shared_bytes),
                             static_cast<cudaStream_t>(stream));
  }
  if (error != cudaSuccess)
    throw std::runtime_error(std::string("a kernel's launch: ") + cudaGetErrorString(error));
}

#endif

}  // namespace fastconv::cuda
