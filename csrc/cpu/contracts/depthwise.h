// Filters of one channel each.
#pragma once

#include <cstdint>

#include "core/activation.h"

namespace fastconv::cpu {

using std::int64_t;

// Columns of taps that lie below each other, which neighbouring rows read in common: tap i of a column lies
// at its offset + i * row_step of the planes (DepthwiseRows).
constexpr int kTapsBelow = 3;
struct TapColumns {
  int64_t count;
  int taps;         // of each column: 1 ... kTapsBelow
  bool ends_chain;  // a sum of these and those before it; a new one follows
};

struct DepthwiseTaps {
  const TapColumns* columns;
  int64_t count;
  const int64_t* offsets;  // of each column
  const void* weights;     // filter: one each tap, column by column
};

// Rows of positions of one channel: position j of row r meets a tap that lies at `offset` of the planes at
// offset + r * row_step + j. There is room for reading whole vectors.
struct DepthwiseRows {
  const void* planes;
  int64_t row_step, rows, columns;
};

// Filtering of rows into the result as it is to be: activation(bias + before + sum over taps of weight *
// element),
// rounded to the storage type.
struct DepthwiseFilter {
  DepthwiseRows rows;
  // The sums of one gather; or of two, whose positions take turns in the result: rows.columns is the first
  // one's, of which there may be one more.
  const DepthwiseTaps* taps;
  int phases;
  void* out;
  int64_t out_row_step, width;  // elements of a row of the result
  const void* before;  // sums to go on from, laid out like those in `out`, where they don't go; or null
  const void* bias;    // one; null: none
  Activation activation;
};

// sums[tap] += sum over the positions of values[r * value_row_step + j] * element, lane by lane, taps column
// by column.
struct DepthwiseCorrelation {
  DepthwiseRows rows;
  DepthwiseTaps taps;
  const void* values;
  int64_t value_row_step;
  void* sums;
};

// Depthwise filtering of rows of `count` positions of nr neighbouring channels each: position j lies at j *
// out_step of `out` or `values`, its tap t at source + tap_offset[t] + j * step; a row on, row_step and
// out_row_step further.
struct DepthwiseLanes {
  const void* source;
  const int64_t* tap_offset;
  int64_t taps, chain, count, step, out_step;
  int64_t rows, row_step, out_row_step;
  const void* weights;  // filter: nr each tap
  const void* values;   // correlate
  void* out;            // filter: sums. correlate: nr each tap; added to
};

struct DepthwiseKernels {
  void (*correlate_rows)(const DepthwiseCorrelation&);
  void (*filter_lanes)(const DepthwiseLanes&);
  void (*correlate_lanes)(const DepthwiseLanes&);
  int lanes;  // of a vector
};

}  // namespace fastconv::cpu
