// The product of packed lines and filters on tiles (TileChain in contracts/tiles.h). Which products of
// parts count, a0 being A's largest part:
//
//   1 part     a0 b0                          relative error 2^-8 of a term: `medium`, and exact for bfloat16
//   2 parts    a0 b1, a0 b0, a1 b0            2^-16: `high`, and float16's 11 bits
//   3 parts    a0 b2, a0 b1, a1 b1, a1 b0,    2^-24: `highest`
//              a2 b0, and then a0 b0
//
// With three parts the small products of all steps come first: added to sums that are still small, their
// roundings weigh nothing, and a chain rounds once a step at its full size instead of six times. Chains start
// from zero and are added to C at their end.
//
// Two tiles of A, two of B and the four of C between them are held at a time; every load stands between
// products that do not wait for it.
#pragma once

#include "cpu/contracts/tiles.h"
#include "cpu/kernels/tile_parts.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

constexpr int kTilePair = 2 * kTileElements, kPanelSide = 2 * kTileRows;

// One or two tiles of A and of B. Tile registers: 0 ... 3 hold C, 4 and 5 A, 6 and 7 B.
template <bool kTwoRows, bool kTwoColumns>
struct TileBlock {
  static void zero() {
    zero_tile<0>();
    if constexpr (kTwoColumns) zero_tile<1>();
    if constexpr (kTwoRows) zero_tile<2>();
    if constexpr (kTwoRows && kTwoColumns) zero_tile<3>();
  }

  static void multiply_both_new(const BFloat16* a, const BFloat16* b) {
    load_tile<6>(b, kTileRowBytes);
    load_tile<4>(a, kTileRowBytes);
    multiply_tiles<0, 4, 6>();
    if constexpr (kTwoRows) {
      load_tile<5>(a + kTileElements, kTileRowBytes);
      multiply_tiles<2, 5, 6>();
    }
    multiply_second_column(b);
  }
  static void multiply_new_b(const BFloat16* b) {
    load_tile<6>(b, kTileRowBytes);
    multiply_tiles<0, 4, 6>();
    if constexpr (kTwoRows) multiply_tiles<2, 5, 6>();
    multiply_second_column(b);
  }
  static void multiply_new_a(const BFloat16* a) {
    load_tile<4>(a, kTileRowBytes);
    multiply_tiles<0, 4, 6>();
    if constexpr (kTwoColumns) multiply_tiles<1, 4, 7>();
    if constexpr (kTwoRows) {
      load_tile<5>(a + kTileElements, kTileRowBytes);
      multiply_tiles<2, 5, 6>();
      if constexpr (kTwoColumns) multiply_tiles<3, 5, 7>();
    }
  }

  static void store(float* c) {
    constexpr int64_t kRow = kPanelSide * sizeof(float);
    store_tile<0>(c, kRow);
    if constexpr (kTwoColumns) store_tile<1>(c + kTileRows, kRow);
    if constexpr (kTwoRows) store_tile<2>(c + kTileRows * kPanelSide, kRow);
    if constexpr (kTwoRows && kTwoColumns) store_tile<3>(c + kTileRows * kPanelSide + kTileRows, kRow);
  }
  static void add_to(float* c) {
    alignas(64) float sums[kPanelSide * kPanelSide];
    store(sums);
    for (int m = 0; m < (kTwoRows ? 2 : 1) * kTileRows; ++m)
      for (int n = 0; n < (kTwoColumns ? 2 : 1) * kTileRows; n += kTileRows) {
        float* to = c + m * kPanelSide + n;
        (VecF32::load(to) + VecF32::load(sums + m * kPanelSide + n)).store(to);
      }
  }

 private:
  static void multiply_second_column(const BFloat16* b) {
    if constexpr (kTwoColumns) {
      load_tile<7>(b + kTileElements, kTileRowBytes);
      multiply_tiles<1, 4, 7>();
      if constexpr (kTwoRows) multiply_tiles<3, 5, 7>();
    }
  }
};

// a: at the panel's first position; b: of the pair.
template <int kParts, class Block>
void multiply_steps(const BFloat16* a, int64_t a_part, const int64_t* a_line, const BFloat16* b,
                    int64_t steps) {
  Block::zero();
  for (int64_t s = 0; s < steps; ++s) {
    const BFloat16* a0 = a + a_line[s] * kTileLanes;
    const BFloat16* b0 = b + s * kParts * kTilePair;
    if constexpr (kParts == 1) {
      Block::multiply_both_new(a0, b0);
    } else if constexpr (kParts == 2) {
      Block::multiply_both_new(a0, b0 + kTilePair);
      Block::multiply_new_b(b0);
      Block::multiply_new_a(a0 + a_part);
    } else {
      Block::multiply_both_new(a0, b0 + 2 * kTilePair);
      Block::multiply_new_b(b0 + kTilePair);
      Block::multiply_new_a(a0 + a_part);
      Block::multiply_new_b(b0);
      Block::multiply_new_a(a0 + 2 * a_part);
    }
  }
  if constexpr (kParts == 3)
    for (int64_t s = 0; s < steps; ++s)
      Block::multiply_both_new(a + a_line[s] * kTileLanes, b + s * kParts * kTilePair);
}

template <int kParts, class Block>
void multiply_panel_by_pair(const TileChain& t, int64_t panel, int64_t pair) {
  multiply_steps<kParts, Block>(t.a + t.panels[panel].start * kTileLanes, t.a_part, t.a_line,
                                t.b + pair * t.b_pair, t.steps);
  float* c = t.c + (pair * t.panel_count + panel) * kPanelSide * kPanelSide;
  t.accumulate ? Block::add_to(c) : Block::store(c);
}

template <int kParts>
void multiply_panel_by_pair(const TileChain& t, int64_t panel, int64_t pair) {
  const bool two_rows = t.panels[panel].count > kTileRows;
  const bool two_columns = t.filters - pair * kPanelSide > kTileRows;
  if (two_rows) {
    two_columns ? multiply_panel_by_pair<kParts, TileBlock<true, true>>(t, panel, pair)
                : multiply_panel_by_pair<kParts, TileBlock<true, false>>(t, panel, pair);
  } else {
    two_columns ? multiply_panel_by_pair<kParts, TileBlock<false, true>>(t, panel, pair)
                : multiply_panel_by_pair<kParts, TileBlock<false, false>>(t, panel, pair);
  }
}

template <int kParts>
void multiply_panels(const TileChain& t) {
  const int64_t pairs = (t.filters + kPanelSide - 1) / kPanelSide;
  const int64_t outer = t.pairs_outside ? pairs : t.panel_count;
  const int64_t inner = t.pairs_outside ? t.panel_count : pairs;
  for (int64_t i = 0; i < outer; ++i)
    for (int64_t j = 0; j < inner; ++j)
      multiply_panel_by_pair<kParts>(t, t.pairs_outside ? j : i, t.pairs_outside ? i : j);
}

// The tiles are configured for the time of a chain alone: callers' threads keep nothing of it.
inline void multiply_chain(const TileChain& t) {
  static constexpr TileConfig kConfig = whole_tiles();
  load_tile_config(kConfig);
  with_parts(t.parts, [&t](auto parts) { multiply_panels<parts.kCount>(t); });
  release_tiles();
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
