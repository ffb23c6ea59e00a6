// From what is known at run time to a kernel of tensor cores compiled for it.
#pragma once

#include <type_traits>

#include "cuda/packing.h"

namespace fastconv::cuda {

template <int kValue>
using Constant = std::integral_constant<int, kValue>;

// Calls body with a value of the element type and the number of parts as a type.
template <class Body>
void with_elements(const Elements& elements, const Body& body) {
  if (elements.type == Dtype::float16) return body(Float16(), Constant<1>());
  if (elements.parts == 1) return body(BFloat16(), Constant<1>());
  if (elements.parts == 2) return body(BFloat16(), Constant<2>());
  body(BFloat16(), Constant<3>());
}

// Calls body with the columns of a tile, of so many in all, as a type.
template <class Body>
void with_columns(std::int64_t all, const Body& body) {
  if (all <= 64) return body(Constant<64>());
  body(Constant<128>());
}

}  // namespace fastconv::cuda
