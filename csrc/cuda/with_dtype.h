// From a dtype known at run time to a kernel compiled for it.
#pragma once

#include "core/dtype.h"

namespace fastconv::cuda {

// Calls body with a value of the element type.
template <class Body>
void with_dtype(Dtype dtype, const Body& body) {
  switch (dtype) {
    case Dtype::float64:
      return body(double());
    case Dtype::float16:
      return body(Float16());
    case Dtype::bfloat16:
      return body(BFloat16());
    default:
      return body(float());
  }
}

}  // namespace fastconv::cuda
