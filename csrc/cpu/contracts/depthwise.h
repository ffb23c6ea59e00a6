// Filters of one channel each.
#pragma once

#include <cstdint>

#include "core/activation.h"

namespace fastconv::cpu {

using std::int64_t;

struct PositionRun {
  int64_t start, count;
};

// Depthwise filtering of one line of positions: tap t reads from lines[t]. filter: count may run up to whole
// vectors, lines and `out` have room; sums are added up from chains of at most `chain` taps.
struct DepthwiseLine {
  const void* const* lines;
  int64_t taps, chain;
  const void* weights;  // one each tap
  int64_t count;
  void* out;  // filter: count sums. correlate: a vector of partial sums each tap; added to
  bool accumulate;
  // correlate only: what the lines are multiplied by, laid out as filter's `out`, and the positions to count.
  const void* values;
  const PositionRun* runs;
  int64_t run_count;
};

// Positions that are neighbours among the sums and in the result, from element `result` of it on.
struct PixelRun {
  int64_t start, count, result;
};

// Depthwise filtering of the positions of runs, into the result as it is to be: activation(bias + sums[j] +
// sum over t of weights[t] * lines[t][j]), rounded to the storage type. Sums are those of filter_row.
struct DepthwiseRuns {
  const void* const* lines;
  int64_t taps, chain;
  const void* weights;
  const void* sums;  // null: none; with room for a vector behind each run
  const PixelRun* runs;
  int64_t run_count;
  void* out;
  const void* bias;  // one; null: none
  Activation activation;
  const void* ahead;  // so many bytes that will be read next are asked for along the way
  int64_t ahead_bytes;
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
  // out[j] (+)= sum over t of weights[t] * lines[t][j]
  void (*filter_row)(const DepthwiseLine&);
  // out[t] += sum over the runs' j of values[j] * lines[t][j], lane by lane
  void (*correlate_row)(const DepthwiseLine&);
  void (*filter_lanes)(const DepthwiseLanes&);
  void (*correlate_lanes)(const DepthwiseLanes&);
  int lanes;  // of a vector
};

}  // namespace fastconv::cpu
