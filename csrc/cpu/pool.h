// Pools and their gradients on the CPU: everything is cut into parts of rows, whose windows the kernels walk
// over.
//
// Results are C-contiguous. With channels_last the channels of a view are neighbours (stride 1), else its
// columns are. Every result element is made by one task alone, in an order that the problem fixes.
#pragma once

#include "core/backend.h"
#include "core/pool_problem.h"
#include "cpu/kernel_table.h"

namespace fastconv::cpu {

// y = pool(x). For maxima, `indices` takes their flat positions, laid out as y; or it is null. p:
// PoolOperation::power.
void pool(const PoolProblem& problem, PoolOperation operation, double p, const ImageView& x,
          const ImageView& y, int64_t* indices, bool channels_last);

// Maxima with the taps of their windows that they came from, in a byte each, laid out as y: the first of
// equal ones. Where finds_taps() says so.
bool finds_taps(const PoolProblem& problem, bool lanes);  // lanes: of several channels, channels_last
void max_pool_taps(const PoolProblem& problem, const ImageView& x, const ImageView& y, std::uint8_t* taps,
                   bool channels_last);
// dx = zeros, then each dy is added where the tap that was found for it lies.
void scatter_taps(const PoolProblem& problem, const ImageView& dy, const std::uint8_t* taps,
                  const ImageView& dx, bool channels_last);

// dx of a mean or a p-norm (which reads the pool's x and y too). All arrays are C-contiguous.
void pool_gradient(const PoolProblem& problem, PoolOperation operation, double p, const ImageView& dy,
                   const void* x, const void* y, const ImageView& dx, bool channels_last);

// All three throw std::invalid_argument, which begins with positions.function, where an index is none.
void scatter_sums(const PoolPositions& positions);  // large = zeros, then large[index] += small
void scatter_values(
    const PoolPositions& positions);  // large = zeros, then large[index] = small, the last one staying
void gather_values(const PoolPositions& positions);  // small = large[index]

}  // namespace fastconv::cpu
