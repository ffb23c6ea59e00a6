// The words of the activations, in the order of the enum after `none`.
#pragma once

#include "core/activation.h"

namespace fastconv {

inline constexpr const char* kActivationNames[] = {"relu", "relu6", "leaky_relu", "sigmoid",
                                                   "tanh", "gelu",  "silu"};

inline const char* name_of(Activation a) {
  return a == Activation::none ? "none" : kActivationNames[static_cast<int>(a) - 1];
}

// Whether the gradient needs what came before the activation; else it is made of the activation's result.
constexpr bool slope_needs_input(Activation a) { return a == Activation::gelu || a == Activation::silu; }

}  // namespace fastconv
