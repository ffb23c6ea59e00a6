// What epilogues and elementwise maps can apply.
#pragma once

#include <cstdint>

namespace fastconv::cpu {

using std::int64_t;

enum class Activation : int { none, relu, relu6, leaky_relu, sigmoid, tanh, gelu, silu };

}  // namespace fastconv::cpu
