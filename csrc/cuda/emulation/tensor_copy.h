// The twin of tensor_copy.h. A copy's destination holds NaN patterns until the phase that it belongs to is
// waited for (emulation/mbarrier.h).
#pragma once

#include "cuda/emulation/mbarrier.h"
#include "cuda/tensor_map.h"

namespace fastconv::cuda {
namespace emulation {

void copy_tile(void* to, const TensorMap& map, Mbarrier* done, const int* at, int axes);
void copy_im2col(void* to, const TensorMap& map, Mbarrier* done, const int* at, const int* offset, int axes);

}  // namespace emulation

template <int kAxes>
void copy_tile(void* to, const TensorMap& map, Mbarrier* done, const int (&at)[kAxes]) {
  static_assert(kAxes >= 2 && kAxes <= 4);
  emulation::copy_tile(to, map, done, at, kAxes);
}

template <int kAxes, int kOffsets>
void copy_im2col(void* to, const TensorMap& map, Mbarrier* done, const int (&at)[kAxes],
                 const int (&offset)[kOffsets]) {
  static_assert(kAxes >= 3 && kAxes <= 5 && kOffsets == kAxes - 2);
  emulation::copy_im2col(to, map, done, at, offset, kAxes);
}

inline void prefetch(const TensorMap&) {}

}  // namespace fastconv::cuda
