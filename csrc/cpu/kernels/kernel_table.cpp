// Compiled once per instruction set with -DFASTCONV_ISA=<name> and that set's flags. Everything has internal linkage but
// the getter of the table: the linker must never choose one object's copy of a function for another's callers.
#include "cpu/kernel_table.h"

#define FASTCONV_QUOTE(text) #text
#define FASTCONV_QUOTED(text) FASTCONV_QUOTE(text)
#define FASTCONV_VEC_HEADER_OF(isa) cpu/kernels/vec_##isa.h
#define FASTCONV_VEC_HEADER(isa) FASTCONV_VEC_HEADER_OF(isa)
#include FASTCONV_QUOTED(FASTCONV_VEC_HEADER(FASTCONV_ISA))

#include "cpu/kernels/gemm_tile.h"
#include "cpu/kernels/pack.h"
#include "cpu/kernels/pool_kernels.h"
#include "cpu/kernels/store_panel.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

// Tile heights and widths fill the vector registers: rows * vectors accumulators, `vectors` of B and one broadcast.
#if defined(__AVX512F__) || FASTCONV_VECTOR_REGISTERS == 32
constexpr int kRows = 14, kVectors = 2;
#else
constexpr int kRows = 6, kVectors = 2;
#endif
// Longest product of one packing. The odd multiple of a cache line keeps the rows of a tile in different L1 sets.
constexpr int kPitchF32 = 256 + 16, kPitchF64 = 256 + 8;

constexpr KernelTable make_table() {
  return {
      FASTCONV_QUOTED(FASTCONV_ISA),
      {gemm_kernels<VecF32, kRows, kVectors, kPitchF32>(), gemm_kernels<VecF64, kRows, kVectors, kPitchF64>()},
      {copy_block<VecF32, float>, copy_block<VecF64, double>, copy_block<VecF32, Float16>,
       copy_block<VecF32, BFloat16>},
      {store_panel<VecF32, float, kVectors * VecF32::kLanes>, store_panel<VecF64, double, kVectors * VecF64::kLanes>,
       store_panel<VecF32, Float16, kVectors * VecF32::kLanes>,
       store_panel<VecF32, BFloat16, kVectors * VecF32::kLanes>},
      pool_kernels(),
      {fma_loop<VecF32>, fma_loop<VecF64>},
  };
}

constexpr KernelTable kTable = make_table();

}  // namespace

// Seen by dispatch.cpp alone, which declares it.
const KernelTable& kernel_table();
const KernelTable& kernel_table() { return kTable; }

}  // namespace fastconv::cpu::FASTCONV_ISA
