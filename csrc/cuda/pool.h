// Pools and their gradients.
#pragma once

#include "core/backend.h"
#include "cuda/runtime.h"

namespace fastconv::cuda {

// These are Backend's functions, on a stream.
void pool(const PoolProblem& problem, PoolOperation operation, double p, const ImageView& x,
          const ImageView& y, int64_t* indices, bool channels_last, Stream stream);
void pool_gradient(const PoolProblem& problem, PoolOperation operation, double p, const ImageView& dy,
                   const void* x, const void* y, const ImageView& dx, bool channels_last, Stream stream);
void scatter_sums(const PoolPositions& positions, Stream stream);
void scatter_values(const PoolPositions& positions, Stream stream);
void gather_values(const PoolPositions& positions, Stream stream);  // 0 where an index is no position

}  // namespace fastconv::cuda
