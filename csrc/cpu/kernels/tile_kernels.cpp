// The kernels that the table `amx` has beside avx512's, compiled once with AVX-512's flags and those of the
// tiles. Everything has internal linkage but the getter, as in kernel_table.cpp.
#include "cpu/kernels/tile_product.h"
#include "cpu/kernels/tile_split.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

constexpr TileKernels kTiles = {largest_magnitude, split_lines, turn_lines, pack_pairs, multiply_chain};

}  // namespace

// Seen by dispatch.cpp alone, which declares it.
const TileKernels& tile_kernels();
const TileKernels& tile_kernels() { return kTiles; }

}  // namespace fastconv::cpu::FASTCONV_ISA
