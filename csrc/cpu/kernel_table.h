// The table that drivers (compiled once) reach kernels (compiled once per instruction set) through. Its parts
// are in contracts/: plain structs of arguments and of function pointers. Strides and counts are in elements.
// "Compute type" is double for float64 and float for everything else; arrays indexed by Dtype take storage of
// that type.
#pragma once

#include "cpu/contracts/correlation.h"
#include "cpu/contracts/depthwise.h"
#include "cpu/contracts/layers.h"
#include "cpu/contracts/optimisers.h"
#include "cpu/contracts/pools.h"
#include "cpu/contracts/products.h"
#include "cpu/contracts/tiles.h"
#include "cpu/contracts/winograd.h"

namespace fastconv::cpu {

struct KernelTable {
  const char* isa;
  GemmKernels gemm[2];  // [0] float, [1] double
  void (*copy_block[kDtypeCount])(const BlockCopy&);
  void (*copy_turned[kDtypeCount])(const TurnedCopy&);
  void (*store_block[kDtypeCount])(const BlockStore&);
  void (*store_turned[kDtypeCount])(const TurnedStore&);
  CorrelationKernels correlation[2];
  DepthwiseKernels depthwise[2];
  void (*filter_rows[kDtypeCount])(const DepthwiseFilter&);
  WinogradKernels winograd[2];  // tiles of 2 and of 4 outputs; float
  PoolKernels pool;
  double (*fma_loop[2])(int64_t iterations);  // runs independent chains of fma; returns the FLOPs done
  ChannelKernels channel;
  ResponseNormKernels response_norm;
  ElementwiseKernels elementwise;
  SoftmaxKernels softmax;
  LossKernels loss;
  OptimiserKernels optimiser;
  const TileKernels* tiles;  // null where there are none
};

}  // namespace fastconv::cpu
