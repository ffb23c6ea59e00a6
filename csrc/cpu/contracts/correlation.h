// Gradients of filters of few channels: sums over the positions of one image times another one, shifted.
#pragma once

#include <cstdint>

namespace fastconv::cpu {

using std::int64_t;

// Rows of neighbouring positions, the first at element `plane` of each plane and at `value` of each line.
struct CorrelationRows {
  int64_t plane, value, rows, columns;
};

// sums[line][feature] += sum over the positions of values[line] * planes[offset[feature]], a vector of sums
// each, lane by lane: a call's products make one chain. Nothing but these positions is read.
struct Correlation {
  const CorrelationRows* stretches;
  int64_t stretch_count;
  const void* planes;
  int64_t plane_row_step;
  const int64_t* offset;
  int64_t features;
  const void* values;
  int64_t value_row_step, line_step, lines;
  void* sums;
};

struct CorrelationKernels {
  void (*correlate)(const Correlation&);
  int lanes;  // of a vector
};

}  // namespace fastconv::cpu
