// Compiled once per instruction set with -DFASTCONV_ISA=<name> and that set's flags. Everything has internal
// linkage but the getter of the table: the linker must never choose one object's copy of a function for
// another's callers.
#include "cpu/kernel_table.h"

// clang-format off: a path is no division
#define FASTCONV_QUOTE(text) #text
#define FASTCONV_QUOTED(text) FASTCONV_QUOTE(text)
#define FASTCONV_VEC_HEADER_OF(isa) cpu/kernels/vec_##isa.h
#define FASTCONV_VEC_HEADER(isa) FASTCONV_VEC_HEADER_OF(isa)
#include FASTCONV_QUOTED(FASTCONV_VEC_HEADER(FASTCONV_ISA))
// clang-format on

#include "cpu/kernels/channel_map.h"
#include "cpu/kernels/channel_reduction.h"
#include "cpu/kernels/correlation.h"
#include "cpu/kernels/depthwise_lanes.h"
#include "cpu/kernels/depthwise_rows.h"
#include "cpu/kernels/elementwise.h"
#include "cpu/kernels/gemm_tile.h"
#include "cpu/kernels/losses.h"
#include "cpu/kernels/optimiser_steps.h"
#include "cpu/kernels/pack.h"
#include "cpu/kernels/pool_kernels.h"
#include "cpu/kernels/response_norm.h"
#include "cpu/kernels/softmax.h"
#include "cpu/kernels/store_block.h"
#include "cpu/kernels/winograd_transform.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

// kRows * kVectors accumulators, kVectors of B and a broadcast of A fill the vector registers. Short vectors
// in many registers go three across: fewer loads for each product, and a tile that is nearer to a square.
constexpr int kVectors = kVectorRegisters == 32 && VecF32::kLanes == 4 ? 3 : 2;
constexpr int kRows = (kVectorRegisters - kVectors - 1) / kVectors;
// Where a chain ends all accumulators are stored. On Zen 3 eight such stores pass beside the products, twelve
// hold up the next chain for 30 cycles.
constexpr int kShortChainRows = kVectorRegisters == 16 ? 8 / kVectors : kRows;
// A product's depth is at most 128, the length of a chain of additions: long reductions add such chains up,
// and chains of 256 had errors beyond one and a half times a BLAS's. The odd multiple of a cache line keeps
// the rows of a tile in different L1 sets.
constexpr int kPitchF32 = 128 + 16, kPitchF64 = 128 + 8;

template <class V>
constexpr DepthwiseKernels depthwise_kernels() {
  return {correlate_rows<V>, filter_lanes<V, kVectors>, correlate_lanes<V, kVectors>, V::kLanes};
}

constexpr KernelTable make_table() {
  return {
      FASTCONV_QUOTED(FASTCONV_ISA),
      {gemm_kernels<VecF32, kRows, kVectors, kPitchF32, kShortChainRows>(),
       gemm_kernels<VecF64, kRows, kVectors, kPitchF64, kShortChainRows>()},
      {copy_block<VecF32, float>, copy_block<VecF64, double>, copy_block<VecF32, Float16>,
       copy_block<VecF32, BFloat16>},
      {copy_turned<VecF32, float, kVectors>, copy_turned<VecF64, double, kVectors>,
       copy_turned<VecF32, Float16, kVectors>, copy_turned<VecF32, BFloat16, kVectors>},
      {store_block<VecF32, float, kVectors * VecF32::kLanes>,
       store_block<VecF64, double, kVectors * VecF64::kLanes>,
       store_block<VecF32, Float16, kVectors * VecF32::kLanes>,
       store_block<VecF32, BFloat16, kVectors * VecF32::kLanes>},
      {store_turned<VecF32, float, kVectors * VecF32::kLanes>,
       store_turned<VecF64, double, kVectors * VecF64::kLanes>,
       store_turned<VecF32, Float16, kVectors * VecF32::kLanes>,
       store_turned<VecF32, BFloat16, kVectors * VecF32::kLanes>},
      {{correlate<VecF32>, VecF32::kLanes}, {correlate<VecF64>, VecF64::kLanes}},
      {depthwise_kernels<VecF32>(), depthwise_kernels<VecF64>()},
      {filter_rows<VecF32, float>, filter_rows<VecF64, double>, filter_rows<VecF32, Float16>,
       filter_rows<VecF32, BFloat16>},
      {winograd_kernels<VecF32, 2, kVectors * VecF32::kLanes>(),
       winograd_kernels<VecF32, 4, kVectors * VecF32::kLanes>()},
      pool_kernels(),
      {fma_loop<VecF32>, fma_loop<VecF64>},
      channel_kernels(),
      response_norm_kernels(),
      elementwise_kernels(),
      softmax_kernels(),
      loss_kernels(),
      optimiser_kernels(),
      nullptr,
  };
}

constexpr KernelTable kTable = make_table();

}  // namespace

// Seen by dispatch.cpp alone, which declares it.
const KernelTable& kernel_table();
const KernelTable& kernel_table() { return kTable; }

}  // namespace fastconv::cpu::FASTCONV_ISA
