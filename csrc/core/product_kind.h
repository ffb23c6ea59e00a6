// Which of a convolution's three products is meant, how exactly it is to be computed, and what is done to its
// sums as they are stored.
#pragma once

#include <cstdint>

#include "core/activation.h"

namespace fastconv {

enum class Direction : int { forward, input_gradient, weight_gradient };
enum class Precision : int { highest, high, medium };

// Added to a result's channels before the activation; of the filters' dtype, null for none. Images may be of
// the compute type where the filters are of a storage type: sums that no caller sees need not be rounded.
struct Epilogue {
  const void* bias = nullptr;
  std::int64_t bias_stride = 1;
  Activation activation = Activation::none;
};

}  // namespace fastconv
