// What the store of a result can apply to it.
#pragma once

namespace fastconv {

enum class Activation : int { none, relu, relu6, leaky_relu, sigmoid, tanh, gelu, silu };

}  // namespace fastconv
