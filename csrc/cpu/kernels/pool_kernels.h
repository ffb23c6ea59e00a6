// The pools' part of the table.
#pragma once

#include "cpu/contracts/pools.h"
#include "cpu/kernels/pool_gradient.h"
#include "cpu/kernels/pool_gradient_rows.h"
#include "cpu/kernels/pool_lanes.h"
#include "cpu/kernels/pool_rows.h"
#include "cpu/kernels/pool_scatter.h"
#include "cpu/kernels/pool_sliding.h"
#include "cpu/kernels/pool_taps.h"
#include "cpu/kernels/pool_window.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

template <class V, class S, PoolOperation kOperation>
constexpr void add_pool(PoolKernels& k, int dtype) {
  constexpr int i = static_cast<int>(kOperation);
  k.rows[i][dtype] = pool_rows<V, S, kOperation>;
  k.sliding[i][dtype] = pool_sliding<V, S, kOperation>;
  k.window[i][dtype] = pool_window<V, S, kOperation>;
  k.lanes[i][dtype] = pool_lanes<V, S, kOperation>;
}

template <class V, class S>
constexpr void add_pools(PoolKernels& k, Dtype type) {
  const int dtype = static_cast<int>(type);
  add_pool<V, S, PoolOperation::max>(k, dtype);
  add_pool<V, S, PoolOperation::mean>(k, dtype);
  add_pool<V, S, PoolOperation::power>(k, dtype);
  k.find_taps[dtype] = find_taps<V, S>;
  k.gradient_rows[0][dtype] = pool_gradient_rows<V, S, MeanGradient>;
  k.gradient_rows[1][dtype] = pool_gradient_rows<V, S, PowerGradient>;
  k.gradient_runs[0][dtype] = pool_gradient_runs<V, S, MeanGradient>;
  k.gradient_runs[1][dtype] = pool_gradient_runs<V, S, PowerGradient>;
  k.gradient_lanes[0][dtype] = pool_gradient_lanes<V, S, MeanGradient>;
  k.gradient_lanes[1][dtype] = pool_gradient_lanes<V, S, PowerGradient>;
  k.scatter_add[dtype] = scatter_add<V, S>;
}

constexpr PoolKernels pool_kernels() {
  PoolKernels k{};
  add_pools<VecF32, float>(k, Dtype::float32);
  add_pools<VecF64, double>(k, Dtype::float64);
  add_pools<VecF32, Float16>(k, Dtype::float16);
  add_pools<VecF32, BFloat16>(k, Dtype::bfloat16);
  return k;
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
