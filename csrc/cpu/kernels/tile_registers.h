// The tile registers and their instructions (Intel's Software Developer's Manual, "Intel AMX"): eight tiles
// of 16 rows of 64 bytes, told so by a configuration. As assembly rather than through the compiler's
// intrinsics: GCC's do not say that a load reads memory, and name 8 of the configuration's 64 bytes, so that
// a store before them may come too late or never.
#pragma once

#include "cpu/contracts/tiles.h"
#include "cpu/kernels/vec_avx512.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

constexpr int kTileCount = 8, kTileRowBytes = kTileLanes * 2;

struct TileConfig {
  std::uint8_t palette, start_row, reserved[14];
  std::uint16_t row_bytes[16];
  std::uint8_t rows[16];
};
static_assert(sizeof(TileConfig) == 64);

constexpr TileConfig whole_tiles() {
  TileConfig c = {};
  c.palette = 1;
  for (int t = 0; t < kTileCount; ++t) {
    c.row_bytes[t] = kTileRowBytes;
    c.rows[t] = kTileRows;
  }
  return c;
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA

#ifdef FASTCONV_EMULATED
#include "cpu/kernels/emulated_tiles.h"
#else

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

inline void load_tile_config(const TileConfig& config) { __asm__ volatile("ldtilecfg %0" : : "m"(config)); }
inline void release_tiles() { __asm__ volatile("tilerelease"); }

template <int kTile>
void zero_tile() {
  __asm__ volatile("tilezero %%tmm%c0" : : "i"(kTile));
}
// Rows `stride` bytes apart.
template <int kTile>
void load_tile(const void* from, int64_t stride) {
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(kTile) : "memory");
}
template <int kTile>
void store_tile(void* to, int64_t stride) {
  __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(kTile) : "memory");
}
// c[m][n] += sum over k of a[m][2k] * b[k][2n] + a[m][2k + 1] * b[k][2n + 1]
template <int kC, int kA, int kB>
void multiply_tiles() {
  __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kC), "i"(kA), "i"(kB));
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA

#endif
