// Bulk copies of tensors' parts from global to shared memory (sm_90), which one thread starts and whose bytes
// arrive on an mbarrier (PTX ISA, "cp.async.bulk.tensor").
//
// The destination is aligned to 128 bytes, with a swizzled map to 1024. A copy counts all of its bytes, those
// too that are zeros from outside the tensor. What threads did to the destination before is ordered by the
// mbarrier that told the copying thread that it is free.
#pragma once

#include "cuda/mbarrier.h"
#include "cuda/tensor_map.h"

#ifdef FASTCONV_EMULATED
#include "cuda/emulation/tensor_copy.h"
#else

namespace fastconv::cuda {

#define FASTCONV_COPY_TENSOR(kShape, kCoordinates, ...)                                                \
  asm volatile("cp.async.bulk.tensor." kShape ".mbarrier::complete_tx::bytes [%0], [%1, " kCoordinates \
               ";" ::"r"(shared_address(to)),                                                          \
               "l"(&map), "r"(shared_address(done)), __VA_ARGS__                                       \
               : "memory")

// The box of a map_tiles map from the coordinates `at` on.
template <int kAxes>
FASTCONV_DEVICE void copy_tile(void* to, const TensorMap& map, Mbarrier* done, const int (&at)[kAxes]) {
  static_assert(kAxes >= 2 && kAxes <= 4);
#if __CUDA_ARCH__ >= 900
  if constexpr (kAxes == 2) {
    FASTCONV_COPY_TENSOR("2d.shared::cluster.global.tile", "{%3, %4}], [%2]", "r"(at[0]), "r"(at[1]));
  } else if constexpr (kAxes == 3) {
    FASTCONV_COPY_TENSOR("3d.shared::cluster.global.tile", "{%3, %4, %5}], [%2]", "r"(at[0]), "r"(at[1]),
                         "r"(at[2]));
  } else {
    FASTCONV_COPY_TENSOR("4d.shared::cluster.global.tile", "{%3, %4, %5, %6}], [%2]", "r"(at[0]), "r"(at[1]),
                         "r"(at[2]), "r"(at[3]));
  }
#endif
}

// Pixels of a map_im2col map: `at` is the first channel, the first pixel's place in the window, and its
// image; `offset`, from 0 up, is added to all places: below 2^16, 2^8 or 2^5 with 1, 2 or 3 spatial axes.
template <int kAxes, int kOffsets>
FASTCONV_DEVICE void copy_im2col(void* to, const TensorMap& map, Mbarrier* done, const int (&at)[kAxes],
                                 const int (&offset)[kOffsets]) {
  static_assert(kAxes >= 3 && kAxes <= 5 && kOffsets == kAxes - 2);
#if __CUDA_ARCH__ >= 900
  const auto w = static_cast<std::uint16_t>(offset[0]);
  if constexpr (kAxes == 3) {
    FASTCONV_COPY_TENSOR("3d.shared::cluster.global.im2col", "{%3, %4, %5}], [%2], {%6}", "r"(at[0]),
                         "r"(at[1]), "r"(at[2]), "h"(w));
  } else if constexpr (kAxes == 4) {
    const auto h = static_cast<std::uint16_t>(offset[1]);
    FASTCONV_COPY_TENSOR("4d.shared::cluster.global.im2col", "{%3, %4, %5, %6}], [%2], {%7, %8}", "r"(at[0]),
                         "r"(at[1]), "r"(at[2]), "r"(at[3]), "h"(w), "h"(h));
  } else {
    const auto h = static_cast<std::uint16_t>(offset[1]), d = static_cast<std::uint16_t>(offset[2]);
    FASTCONV_COPY_TENSOR("5d.shared::cluster.global.im2col", "{%3, %4, %5, %6, %7}], [%2], {%8, %9, %10}",
                         "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3]), "r"(at[4]), "h"(w), "h"(h), "h"(d));
  }
#endif
}

#undef FASTCONV_COPY_TENSOR

// Brings a map near, ahead of its first copy.
FASTCONV_DEVICE void prefetch(const TensorMap& map) {
#if __CUDA_ARCH__ >= 900
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
#endif
}

}  // namespace fastconv::cuda

#endif
