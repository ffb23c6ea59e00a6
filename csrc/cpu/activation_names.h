// The words of the activations, in the order of the enum after `none`.
#pragma once

#include "cpu/kernel_table.h"

namespace fastconv::cpu {

inline constexpr const char* kActivationNames[] = {"relu", "relu6", "leaky_relu", "sigmoid",
                                                   "tanh", "gelu",  "silu"};

inline const char* name_of(Activation a) {
  return a == Activation::none ? "none" : kActivationNames[static_cast<int>(a) - 1];
}

}  // namespace fastconv::cpu
