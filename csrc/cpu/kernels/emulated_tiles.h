// The tile instructions, and the conversions that go with them, on any machine, for tests: written after the
// pseudo-code of Intel's Software Developer's Manual, order of additions and flushing of denormals included.
// What would raise an exception there ends the program here.
#pragma once

#include "cpu/contracts/tiles.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

struct Tile {
  int rows, row_bytes;  // 0: not configured
  union {
    unsigned char bytes[16][64];
    std::uint32_t words[16][16];
    float floats[16][16];
  };
};

struct TileState {
  bool configured;
  Tile tile[kTileCount];
};
inline TileState& tile_state() {
  static thread_local TileState state;
  return state;
}

inline void require_tile(bool condition) {
  if (!condition) __builtin_trap();
}
template <int kTile>
Tile& configured_tile() {
  static_assert(0 <= kTile && kTile < kTileCount);
  TileState& state = tile_state();
  require_tile(state.configured && state.tile[kTile].rows > 0);
  return state.tile[kTile];
}

inline void release_tiles() { __builtin_memset(&tile_state(), 0, sizeof(TileState)); }
inline void load_tile_config(const TileConfig& config) {
  release_tiles();
  require_tile(config.palette == 1 && config.start_row == 0);
  for (const std::uint8_t byte : config.reserved) require_tile(byte == 0);
  for (int t = 0; t < 16; ++t) {
    const int rows = config.rows[t], row_bytes = config.row_bytes[t];
    require_tile(t < kTileCount ? rows <= 16 && row_bytes <= 64 && (rows == 0) == (row_bytes == 0)
                                : rows == 0 && row_bytes == 0);
    if (t >= kTileCount) continue;
    tile_state().tile[t].rows = rows;
    tile_state().tile[t].row_bytes = row_bytes;
  }
  tile_state().configured = true;
}

template <int kTile>
void zero_tile() {
  Tile& t = configured_tile<kTile>();
  __builtin_memset(t.bytes, 0, sizeof t.bytes);
}
template <int kTile>
void load_tile(const void* from, int64_t stride) {
  Tile& t = configured_tile<kTile>();
  zero_tile<kTile>();
  for (int r = 0; r < t.rows; ++r)
    __builtin_memcpy(t.bytes[r], static_cast<const char*>(from) + r * stride,
                     static_cast<unsigned>(t.row_bytes));
}
template <int kTile>
void store_tile(void* to, int64_t stride) {
  const Tile& t = configured_tile<kTile>();
  for (int r = 0; r < t.rows; ++r)
    __builtin_memcpy(static_cast<char*>(to) + r * stride, t.bytes[r], static_cast<unsigned>(t.row_bytes));
}

inline std::uint32_t float_bits(float x) {
  std::uint32_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  return bits;
}
inline float float_of(std::uint32_t bits) {
  float x;
  __builtin_memcpy(&x, &bits, sizeof x);
  return x;
}
// A denormal number as a zero of its sign.
inline float flushed(float x) {
  const std::uint32_t bits = float_bits(x);
  return float_of((bits & 0x7f800000u) == 0 ? bits & 0x80000000u : bits);
}

template <int kC, int kA, int kB>
void multiply_tiles() {
  static_assert(kC != kA && kA != kB && kC != kB);
  Tile& c = configured_tile<kC>();
  const Tile &a = configured_tile<kA>(), &b = configured_tile<kB>();
  require_tile(a.rows == c.rows && b.row_bytes == c.row_bytes && a.row_bytes == 4 * b.rows &&
               c.row_bytes % 4 == 0);
  const int columns = c.row_bytes / 4;
  for (int m = 0; m < c.rows; ++m) {
    float even[16] = {}, odd[16] = {};
    for (int k = 0; k < b.rows; ++k) {
      const float a_even = flushed(float_of(a.words[m][k] << 16)),
                  a_odd = flushed(float_of(a.words[m][k] & 0xffff0000u));
      for (int n = 0; n < 16; ++n) {
        const float b_even = flushed(float_of(b.words[k][n] << 16)),
                    b_odd = flushed(float_of(b.words[k][n] & 0xffff0000u));
        even[n] = flushed(__builtin_fmaf(a_even, b_even, even[n]));
        odd[n] = flushed(__builtin_fmaf(a_odd, b_odd, odd[n]));
      }
    }
    for (int n = 0; n < columns; ++n)
      c.floats[m][n] = flushed(flushed(c.floats[m][n]) + flushed(even[n] + odd[n]));
  }
}

// VCVTNEPS2BF16: to nearest, ties to even, denormals as zeros, whatever the control register says.
inline std::uint16_t rounded_to_bf16(float x) {
  const std::uint32_t bits = float_bits(flushed(x)), top = bits >> 16;
  if (x != x) return static_cast<std::uint16_t>(top | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7fffu + (top & 1u)) >> 16);
}
inline __m256i _mm512_cvtneps_pbh(__m512 a) {
  float from[16];
  std::uint16_t to[16];
  __builtin_memcpy(from, &a, sizeof from);
  for (int i = 0; i < 16; ++i) to[i] = rounded_to_bf16(from[i]);
  __m256i r;
  __builtin_memcpy(&r, to, sizeof r);
  return r;
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
