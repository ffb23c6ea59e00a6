// A warp's matrix products on tensor cores (mma.sync, sm_80) and the loads that fill their fragments
// (ldmatrix).
//
//   C[16, 8] += A[16, k] B[k, 8]     k = 16 for float16 and bfloat16, 8 for tf32; sums in float32
//
// Which lane holds what (PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type" and "... for
// mma.m16n8k8"), with g = lane / 4 and t = lane % 4; a 32-bit register has two 16-bit elements, the lower
// column first, or one tf32:
//
//            register 0       register 1           register 2           register 3
//   A 16-bit [g][2t, 2t+1]    [g+8][2t, 2t+1]      [g][2t+8, 2t+9]      [g+8][2t+8, 2t+9]
//   B 16-bit [2t, 2t+1][g]    [2t+8, 2t+9][g]
//   A tf32   [g][t]           [g+8][t]             [g][t+4]             [g+8][t+4]
//   B tf32   [t][g]           [t+4][g]
//   C        [g][2t]          [g][2t+1]            [g+8][2t]            [g+8][2t+1]
//
// All lanes of a warp take part in each function here but to_tf32.
#pragma once

#include <type_traits>

#include "cuda/device.h"

namespace fastconv::cuda {

// float32 of which products ignore the lowest 13 bits.
struct Tf32 {
  std::uint32_t bits;
};

}  // namespace fastconv::cuda

#ifdef FASTCONV_EMULATED
#include "cuda/emulation/tensor_core.h"
#else

namespace fastconv::cuda {

// To nearest, ties away from zero.
FASTCONV_DEVICE Tf32 to_tf32(float x) {
  Tf32 result;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(result.bits) : "f"(x));
  return result;
}

#define FASTCONV_LDMATRIX(kOrder)                                                             \
  const std::uint32_t at = shared_address(row);                                               \
  if constexpr (kMatrices == 1) {                                                             \
    asm volatile("ldmatrix.sync.aligned.m8n8.x1" kOrder ".shared.b16 {%0}, [%1];"             \
                 : "=r"(r[0])                                                                 \
                 : "r"(at)                                                                    \
                 : "memory");                                                                 \
  } else if constexpr (kMatrices == 2) {                                                      \
    asm volatile("ldmatrix.sync.aligned.m8n8.x2" kOrder ".shared.b16 {%0, %1}, [%2];"         \
                 : "=r"(r[0]), "=r"(r[1])                                                     \
                 : "r"(at)                                                                    \
                 : "memory");                                                                 \
  } else {                                                                                    \
    static_assert(kMatrices == 4);                                                            \
    asm volatile("ldmatrix.sync.aligned.m8n8.x4" kOrder ".shared.b16 {%0, %1, %2, %3}, [%4];" \
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])                             \
                 : "r"(at)                                                                    \
                 : "memory");                                                                 \
  }

// Loads 1, 2 or 4 matrices of 8 x 8 16-bit elements from shared memory, one to a register: the lane gets
// columns 2t and 2t + 1 of row g. Lane 8 i + j gives the address of row j of matrix i, which is 16 bytes,
// aligned to 16; the lanes beyond give any. (PTX ISA, "Warp-level matrix load instruction: ldmatrix".)
template <int kMatrices>
FASTCONV_DEVICE void load_matrices(std::uint32_t (&r)[kMatrices], const void* row) {
  FASTCONV_LDMATRIX("")
}

// The same matrices transposed: the lane gets rows 2t and 2t + 1 of column g.
template <int kMatrices>
FASTCONV_DEVICE void load_transposed(std::uint32_t (&r)[kMatrices],
                                     const void* row){FASTCONV_LDMATRIX(".trans")}

#undef FASTCONV_LDMATRIX

#define FASTCONV_MMA(kShapeAndTypes)                                              \
  asm volatile("mma.sync.aligned." kShapeAndTypes                                 \
               " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])                   \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))

// C += A B, of T = BFloat16, Float16 or Tf32.
template <class T>
FASTCONV_DEVICE void multiply_add(float (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    FASTCONV_MMA("m16n8k16.row.col.f32.bf16.bf16.f32");
  } else if constexpr (std::is_same_v<T, Float16>) {
    FASTCONV_MMA("m16n8k16.row.col.f32.f16.f16.f32");
  } else {
    static_assert(std::is_same_v<T, Tf32>);
    FASTCONV_MMA("m16n8k8.row.col.f32.tf32.tf32.f32");
  }
}

#undef FASTCONV_MMA

}  // namespace fastconv::cuda

#endif
