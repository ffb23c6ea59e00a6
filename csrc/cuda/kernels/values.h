// Elements of tensors, read into and written from the type that sums are kept in. `T` is double for float64
// arrays and float for all others, whose storage type is known at run time only.
#pragma once

#include "core/dtype.h"
#include "cuda/device.h"

namespace fastconv::cuda {

template <class T>
FASTCONV_DEVICE T load(Dtype dtype, const void* data, std::int64_t i) {
  if constexpr (sizeof(T) == 8) {
    return static_cast<const double*>(data)[i];
  } else {
    switch (dtype) {
      case Dtype::float16:
        return widen(static_cast<const Float16*>(data)[i]);
      case Dtype::bfloat16:
        return widen(static_cast<const BFloat16*>(data)[i]);
      default:
        return static_cast<const float*>(data)[i];
    }
  }
}

template <class T>
FASTCONV_DEVICE void store(Dtype dtype, void* data, std::int64_t i, T value) {
  if constexpr (sizeof(T) == 8) {
    static_cast<double*>(data)[i] = value;
  } else {
    switch (dtype) {
      case Dtype::float16:
        static_cast<Float16*>(data)[i] = to_float16(value);
        return;
      case Dtype::bfloat16:
        static_cast<BFloat16*>(data)[i] = to_bfloat16(value);
        return;
      default:
        static_cast<float*>(data)[i] = value;
    }
  }
}

}  // namespace fastconv::cuda
