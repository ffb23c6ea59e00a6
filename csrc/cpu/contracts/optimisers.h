// Optimiser steps.
#pragma once

#include <cstdint>

namespace fastconv::cpu {

using std::int64_t;

// Optimiser steps on `count` contiguous elements, in place; the settings are PyTorch's.
struct SgdStep {
  void* param;
  const void* grad;
  void* velocity;  // null without momentum
  double lr, momentum, weight_decay;
  bool nesterov;
};
struct RmspropStep {
  void* param;
  const void* grad;
  void* square_avg;
  void* velocity;  // null without momentum
  double lr, alpha, eps, weight_decay, momentum;
};
struct AdamStep {
  void* param;
  const void* grad;
  void* m;
  void* v;
  double lr, beta1, beta2, eps, weight_decay;
  bool decoupled;
  double correction1, root2;  // 1 - beta1^step, sqrt(1 - beta2^step)
};

struct OptimiserKernels {  // [0] float, [1] double; from `start` on
  void (*sgd[2])(const SgdStep&, int64_t start, int64_t count);
  void (*rmsprop[2])(const RmspropStep&, int64_t start, int64_t count);
  void (*adam[2])(const AdamStep&, int64_t start, int64_t count);
};

}  // namespace fastconv::cpu
