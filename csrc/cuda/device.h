// The hardware that kernels stand on: who a thread is, shared memory, barriers, shuffles, integer atomics. A
// kernel takes all of it from here and from the headers of single subjects beside this one (async_copy.h,
// tensor_core.h, warp_roles.h, mbarrier.h, tensor_copy.h, wgmma.h), so that its own source also runs on the
// CPU, where FASTCONV_EMULATED puts the twins of emulation/ in place of the device.
//
// A kernel is a struct:
//
//   struct Kernel {
//     struct Arguments { ... };                                      // plain data, at most 4 KiB
//     static constexpr int kThreads = 256;                           // of a block; both have one axis
//     static constexpr int kResidentBlocks = 2;                      // may stand here: so many fit at once
//     FASTCONV_DEVICE static void run(const Arguments& a);           // what one thread does
//   };
//
// and launch.h starts it.
#pragma once

#include <cstdint>

#include "core/dtype.h"

#ifdef FASTCONV_EMULATED
#include "cuda/emulation/device.h"
#else

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#define FASTCONV_DEVICE __device__ __forceinline__
#define FASTCONV_DEVICE_CALL __device__ __noinline__
#define FASTCONV_UNROLL _Pragma("unroll")  // the loop that follows

namespace fastconv::cuda {

constexpr int kWarp = 32;

FASTCONV_DEVICE int thread_index() { return static_cast<int>(threadIdx.x); }
FASTCONV_DEVICE std::int64_t block_index() { return blockIdx.x; }
FASTCONV_DEVICE std::int64_t block_count() { return gridDim.x; }

// The block's own memory, as many bytes as the launch asked for, aligned to 1,024.
FASTCONV_DEVICE void* shared_memory() {
  extern __shared__ __align__(1024) unsigned char fastconv_shared_memory[];
  return fastconv_shared_memory;
}

// What instructions take for a pointer into it.
FASTCONV_DEVICE std::uint32_t shared_address(const void* at) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(at));
}

FASTCONV_DEVICE void barrier() { __syncthreads(); }

// The value of the lane whose number differs by the bits of `mask`. All lanes of the warp take part.
template <class T>
FASTCONV_DEVICE T shuffle_xor(T value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}

// Return what stood there.
FASTCONV_DEVICE int atomic_min(int* at, int value) { return atomicMin(at, value); }
FASTCONV_DEVICE int atomic_max(int* at, int value) { return atomicMax(at, value); }
FASTCONV_DEVICE int atomic_add(int* at, int value) { return atomicAdd(at, value); }

// Whether the predicate holds for any thread of the block; a barrier too.
FASTCONV_DEVICE bool any_in_block(bool predicate) { return __syncthreads_or(predicate); }

// The upper 64 bits of a product.
FASTCONV_DEVICE std::uint64_t multiply_high(std::uint64_t a, std::uint64_t b) { return __umul64hi(a, b); }

// The larger one, NaN where either is; of 0 and -0 any.
FASTCONV_DEVICE float larger(float a, float b) {
  float r;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b));
  return r;
}
FASTCONV_DEVICE double larger(double a, double b) { return !(b <= a) && a == a ? b : a; }

FASTCONV_DEVICE std::int32_t bits_of(float x) { return __float_as_int(x); }

// Storage types; to nearest, ties to even.
FASTCONV_DEVICE float widen(Float16 x) { return __half2float(__ushort_as_half(x.bits)); }
FASTCONV_DEVICE float widen(BFloat16 x) { return __uint_as_float(static_cast<unsigned>(x.bits) << 16); }
FASTCONV_DEVICE Float16 to_float16(float x) { return {__half_as_ushort(__float2half_rn(x))}; }
FASTCONV_DEVICE BFloat16 to_bfloat16(float x) { return {__bfloat16_as_ushort(__float2bfloat16_rn(x))}; }

}  // namespace fastconv::cuda

#endif
