// Activations, sums, softmax and masks of contiguous arrays. Each reads and writes memory once.
#pragma once

#include "cpu/contracts/layers.h"

namespace fastconv::cpu {

// y = f(x). y may be x.
void activation(Activation kind, Dtype dtype, const void* x, void* y, int64_t count);

// y = f(a + b). y may be a or b.
void add(Activation kind, Dtype dtype, const void* a, const void* b, void* y, int64_t count);

// dx = dy * f'; gelu and silu take x, the others y.
void activation_grad(Activation kind, Dtype dtype, const void* dy, const void* x_or_y, void* dx,
                     int64_t count);

// Over rows of `cols` elements.
void softmax(Dtype dtype, const void* x, void* y, int64_t rows, int64_t cols);
void softmax_grad(Dtype dtype, const void* dy, const void* y, void* dx, int64_t rows, int64_t cols);

// y = x in the compute type.
void widen(Dtype dtype, const void* x, void* y, int64_t count);

// y = x * mask * scale.
void scale_mask(Dtype dtype, const void* x, const std::uint8_t* mask, double scale, void* y, int64_t count);

}  // namespace fastconv::cpu
