// Copies between strided arrays, and gradients through activations.
#pragma once

#include "core/backend.h"
#include "cuda/kernels/activations.h"
#include "cuda/kernels/spans.h"
#include "cuda/kernels/values.h"

namespace fastconv::cuda {

// T: an unsigned integer of the item's size.
template <class T>
struct CopyKernel {
  struct Arguments {
    StridedArray from, to;
    std::int64_t count;
  };
  static constexpr int kThreads = kSpanThreads;

  FASTCONV_DEVICE static void run(const Arguments& a) {
    for_each_of_span(a.count, [&](std::int64_t i) {
      std::int64_t from = 0, to = 0;
      for (int axis = a.from.ndim - 1; axis >= 0; --axis) {
        const std::int64_t at = i % a.from.shape[axis];
        i /= a.from.shape[axis];
        from += at * a.from.stride[axis];
        to += at * a.to.stride[axis];
      }
      static_cast<T*>(a.to.data)[to] = static_cast<const T*>(a.from.data)[from];
    });
  }
};

template <class T>
struct ActivationGradientKernel {
  struct Arguments {
    Activation kind;
    Dtype dtype, state_dtype;
    const void *dy, *state;
    void* dz;
    std::int64_t count;
  };
  static constexpr int kThreads = kSpanThreads;

  FASTCONV_DEVICE static void run(const Arguments& a) {
    for_each_of_span(a.count, [&](std::int64_t i) {
      const T slope = activation_slope(a.kind, load<T>(a.state_dtype, a.state, i));
      static_cast<T*>(a.dz)[i] = load<T>(a.dtype, a.dy, i) * slope;
    });
  }
};

}  // namespace fastconv::cuda
