// A warpgroup's matrix products from shared memory (wgmma, sm_90a), which run beside its threads (PTX ISA,
// "Asynchronous Warpgroup Level Matrix Multiply-Accumulate Operation using wgmma.mma_async instruction").
//
//   D[64, n] = A[64, k] B[k, n] (+ D)    k = 16 for float16 and bfloat16, 8 for tf32; sums in float32
//
// A lane of warp w (of the four) holds n / 2 accumulators: with g = lane / 4 and t = lane % 4, d[4 j + 2 r +
// c] is D[16 w + g + 8 r][8 j + 2 t + c] (the figures of "Register Fragments").
//
// All threads of a warpgroup take part in wgmma and its fence, commit and wait.
#pragma once

#include <type_traits>

#include "cuda/tensor_core.h"
#include "cuda/warp_roles.h"

namespace fastconv::cuda {

// Which elements of an operand lie next to each other in memory: those along k, or those along m or n, which
// only 16-bit types may have.
enum class Major { k, mn };

// Where a product finds an operand (PTX ISA, "Matrix Descriptor Format"), which is swizzled as
// Swizzle::bytes128 of tensor_map.h does it: rows of 128 bytes, eight of which begin at a multiple of 1,024.
//   Major::k:  a row has 128 bytes along k, of one m or n; the next eight rows lie `stride` bytes on;
//   `leading` has
//              no meaning. A product takes 32 bytes of each row: the next ones begin 32 bytes after `start`.
//   Major::mn: a row has 64 elements along m or n, of one k; the next eight rows (of k) lie `stride` bytes
//   on, and
//              the next 64 elements along m or n `leading` bytes.
FASTCONV_DEVICE std::uint64_t matrix_descriptor(const void* start, int leading, int stride) {
  constexpr std::uint64_t kSwizzled128 = std::uint64_t{1} << 62;
  const auto field = [](std::uint32_t bytes) { return static_cast<std::uint64_t>((bytes & 0x3ffff) >> 4); };
  return field(shared_address(start)) | field(static_cast<std::uint32_t>(leading)) << 16 |
         field(static_cast<std::uint32_t>(stride)) << 32 | kSwizzled128;
}

// The descriptor of what lies so many bytes (a multiple of 16) further.
FASTCONV_DEVICE std::uint64_t advanced(std::uint64_t descriptor, int bytes) {
  return descriptor + static_cast<std::uint64_t>(bytes >> 4);
}

}  // namespace fastconv::cuda

#ifdef FASTCONV_EMULATED
#include "cuda/emulation/wgmma.h"
#else

#include "cuda/wgmma_shapes.h"

namespace fastconv::cuda {

// After ordinary stores to shared memory, before the barrier behind which products or bulk copies use it.
FASTCONV_DEVICE void publish_to_async_proxy() {
#if __CUDA_ARCH__ >= 900
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

// Before products whose accumulators the threads have touched since the last.
FASTCONV_DEVICE void wgmma_fence() {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}

// Ends a group of products.
FASTCONV_DEVICE void wgmma_commit() {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}

// Nothing that uses d moves from behind this to before it.
FASTCONV_DEVICE void hold(float& d) { asm volatile("" : "+f"(d)::"memory"); }
template <class T, int kCount>
FASTCONV_DEVICE void hold(T (&d)[kCount]) {
  FASTCONV_UNROLL
  for (int i = 0; i < kCount; ++i) hold(d[i]);
}

// Waits for the warp's groups but the latest kPending: then their operands may be overwritten, and their
// accumulators `d` (arrays of float, of any depth) be used, which the compiler does not move before the wait.
template <int kPending, class... Accumulators>
FASTCONV_DEVICE void wgmma_wait(Accumulators&... d) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
  (hold(d), ...);
#else
  __trap();  // a kernel for sm_90a runs elsewhere
#endif
}

#define FASTCONV_WGMMA(types, n, a, b, add, tail, ...)                                      \
  if constexpr (kColumns == n) {                                                            \
    asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, %" #add                              \
                 ", 0;\n"                                                                   \
                 "wgmma.mma_async.sync.aligned.m64n" #n types " {" FASTCONV_WGMMA_NAMES_##n \
                 "}, %" #a ", %" #b ", add, 1, 1" tail ";\n}"                               \
                 : FASTCONV_WGMMA_OPERANDS_##n                                              \
                 : "l"(from_a), "l"(from_b), "r"(accumulate ? 1 : 0)__VA_ARGS__);           \
  }
#define FASTCONV_WGMMA_16_BITS(types, n, a, b, add, trans_a, trans_b)                                \
  FASTCONV_WGMMA(types, n, a, b, add, ", %" #trans_a ", %" #trans_b, , "n"(kA == Major::mn ? 1 : 0), \
                 "n"(kB == Major::mn ? 1 : 0))
#define FASTCONV_WGMMA_32_BITS(types, n, a, b, add, ...) FASTCONV_WGMMA(types, n, a, b, add, "", )

// Starts D = A B, or D += A B, for operands of T = BFloat16, Float16 or Tf32 at these descriptors, with
// kColumns a multiple of 8 up to 256. Until a wait, nobody may touch d.
template <class T, int kColumns, Major kA = Major::k, Major kB = Major::k>
FASTCONV_DEVICE void wgmma(float (&d)[kColumns / 2], std::uint64_t from_a, std::uint64_t from_b,
                           bool accumulate) {
  static_assert(kColumns % 8 == 0 && kColumns >= 8 && kColumns <= 256);
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  if constexpr (std::is_same_v<T, BFloat16>) {
    FASTCONV_WGMMA_SHAPES(FASTCONV_WGMMA_16_BITS, "k16.f32.bf16.bf16")
  } else if constexpr (std::is_same_v<T, Float16>) {
    FASTCONV_WGMMA_SHAPES(FASTCONV_WGMMA_16_BITS, "k16.f32.f16.f16")
  } else {
    static_assert(std::is_same_v<T, Tf32> && kA == Major::k && kB == Major::k);
    FASTCONV_WGMMA_SHAPES(FASTCONV_WGMMA_32_BITS, "k8.f32.tf32.tf32")
  }
#endif
}

#undef FASTCONV_WGMMA_32_BITS
#undef FASTCONV_WGMMA_16_BITS
#undef FASTCONV_WGMMA

}  // namespace fastconv::cuda

#endif
