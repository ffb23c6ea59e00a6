// Local response normalisation (Krizhevsky, Sutskever, Hinton 2012, section 3.3) in PyTorch's definition:
// each element is divided by a power of what the squares of its `size` neighbours among the channels sum to.
#pragma once

#include "cpu/kernel_table.h"

namespace fastconv::cpu {

struct ResponseNorm {
  Dtype dtype;
  int64_t batch, channels, space;  // C-contiguous (batch, channels, space), or (batch, space, channels)
  bool channels_last;
  int64_t size;
  double alpha, beta, k;
};

// scale = k + alpha / size * sum of x^2 over channels c - size / 2 ... c + (size - 1) / 2;   y = x *
// scale^-beta.
void response_norm(const ResponseNorm& n, const void* x, void* y, void* scale);

void response_norm_grad(const ResponseNorm& n, const void* dy, const void* x, const void* y,
                        const void* scale, void* dx);

}  // namespace fastconv::cpu
