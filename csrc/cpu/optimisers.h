// Optimiser steps in place on contiguous arrays of float32 or float64 (formulas: kernels/optimiser_steps.h).
#pragma once

#include "core/dtype.h"
#include "cpu/contracts/optimisers.h"

namespace fastconv::cpu {

void sgd_step(Dtype dtype, const SgdStep& step, int64_t count);
void rmsprop_step(Dtype dtype, const RmspropStep& step, int64_t count);
void adam_step(Dtype dtype, const AdamStep& step, int64_t count);

}  // namespace fastconv::cpu
