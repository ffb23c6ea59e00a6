// Products on tiles: 16 rows of 64 bytes, read as pairs of bfloat16. A float32 value is a sum of up to three
// bfloat16 parts, the largest first; a product of two is the sum of the largest products of their parts
// (kernels/tile_product.h tells which). A *line* is kTileLanes values: channels of a position, or features.
#pragma once

#include <cstdint>

#include "core/dtype.h"

namespace fastconv::cpu {

using std::int64_t;

constexpr int kTileLanes = 32, kTileRows = 16, kTileElements = kTileLanes * kTileRows, kMostTileParts = 3;

// Lines into parts: part p of line i lies at parts + p * part_stride + i * kTileLanes. Lanes from `lanes` on
// are zero there.
struct LineSplit {
  const float* lines;
  int lanes;
  int64_t count;
  BFloat16* parts;
  int64_t part_stride;
  int part_count;
};

// The same where lane l of line i lies at rows + offset[l] + i. Whole tiles of lines are read and written.
struct LineTurn {
  const float* rows;
  const int64_t* offset;
  int lanes;
  int64_t count;
  BFloat16* parts;
  int64_t part_stride;
  int part_count;
};

// Rows of values, whose largest magnitude is asked for as the bits of a float: as integers these are in the
// order of the magnitudes, infinities and NaN above all numbers.
struct MagnitudeRows {
  const float* values;
  int64_t rows, row_stride, count;
};

// Sixteen lines of filters into a tile for each part: row r holds elements 2r and 2r + 1 of each line, side
// by side.
struct PairPack {
  const float* lines;
  BFloat16* tiles;
  int64_t part_stride;
  int part_count;
};

// Neighbouring positions, at most 2 * kTileRows.
struct PositionPanel {
  int64_t start;
  int count;
};

// For each panel of positions and each pair of tiles of filters:
//
//   C[m][n] (+)= sum over steps s and lanes l of A[a_line[s] + start + m][l] * B[s][l][n]
//
//   A: parts a_part elements apart, each of lines of kTileLanes
//   B: [pair][step][part][two tiles], pairs b_pair elements apart
//   C: [pair][panel][32 rows][32 filters]; rows and filters beyond the real ones may hold anything
struct TileChain {
  const BFloat16* a;
  int64_t a_part;
  const int64_t* a_line;
  const PositionPanel* panels;
  int64_t panel_count;
  const BFloat16* b;
  int64_t b_pair;
  int64_t filters, steps;
  float* c;
  int parts;
  bool accumulate;
  bool pairs_outside;  // the order of the loops: B's pair or A's panel stays in the nearest cache
};

struct TileKernels {
  std::uint32_t (*largest_magnitude)(const MagnitudeRows&);
  void (*split_lines)(const LineSplit&);
  void (*turn_lines)(const LineTurn&);
  void (*pack_pairs)(const PairPack&);
  void (*multiply_chain)(const TileChain&);
};

}  // namespace fastconv::cpu
