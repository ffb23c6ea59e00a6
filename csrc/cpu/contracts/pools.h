// Pools and their gradients.
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "core/pool_operation.h"
#include "core/taps.h"

namespace fastconv::cpu {

using std::int64_t;

// Parts of output rows of a pool: the same `columns` output columns of each line. Window j holds the input
// columns taps[j].first, + step, ... of each of its line's rows, which point at column 0 and come in the
// order of the plane. No rows, or no taps, is an empty window.
//
// Elements that may be maxima have numbers: their flat positions in the plane, with row_number[k] that of the
// first one in row k; or, in lanes, what first_number and number_step say.
struct PoolLine {
  const void* const* rows;
  const int64_t* row_number;
  int64_t row_count;
  double divisor;  // mean: of the rows ...
  void* y;
  int64_t* indices;    // max: the numbers of the maxima, or null; -1 where a window is empty
  std::uint8_t* taps;  // max in lanes: the same in a byte each, of windows that are not empty; or null
};

struct PoolLines {
  const PoolLine* lines;
  int64_t line_count;
  const Taps* taps;  // but sliding
  int64_t columns, step;
  // Sliding: window j is kernel taps from column start + j * stride on, of `input` columns.
  int64_t start, stride, kernel, input;
  int64_t x_pitch, y_pitch, channels;  // lanes: elements from column to column of input and result
  // Lanes: the elements of window j in row k have the numbers row_number[k] + first_number[j], + number_step
  // ...
  const int64_t* first_number;
  int64_t number_step;
  const void* divisor;  // mean: ... times that of each output column, of the compute type; else null
  double p;
  void* scratch;
};

// Rows of windows of planes that are all alike: the same `columns` windows of each. Row i of [begin, end) is
// row i % row_count of the list, in plane i / row_count; its input rows begin at `from`, its results at `to`,
// both counted from the plane's first element.
struct PoolRow {
  const int64_t* from;
  const int64_t* tap;  // find_taps: the number of the first tap in each of them
  int64_t from_count;
  double divisor;  // mean: of the rows ...
  int64_t to;
};

constexpr int kMostRowStride = 4;

struct PoolRows {
  const void* x;
  void* y;
  std::uint8_t* taps;            // find_taps: laid out as y
  int64_t from_plane, to_plane;  // elements from plane to plane
  const PoolRow* rows;
  int64_t row_count, begin, end;
  int64_t start, stride, step, kernel, input, columns;  // as in PoolLines; 1 <= stride <= kMostRowStride
  int64_t readable;                                     // elements of x that may be read, needed or not
  bool dense;                                           // results follow each other in memory from row to row
  const void* divisor;  // mean: ... times that of each column, whole vectors of the compute type; else null
  bool scaled;          // all divisors are powers of two, and their reciprocals stand in their places
  double p;
  void* scratch;         // `lines` lines of the compute type, `pitch` apart, with room for
  int64_t lines, pitch;  // what windows reach into that whole vectors of results would have
};

// Parts of rows of the gradient at a pool's input: sums over the windows that hold each of `columns` input
// columns.
//   mean     dx = sum of w * dy, w = row_weight[k] * column_weight[o]
//   power    dx = sign(x) |x|^(p-1) * sum of w * dy / y^(p-1), and 0 where x or y is 0
// The windows are columns readers.first, + step, ... of each of the output rows dy[k] and y[k]; all are among
// the `windows` from first_window on. Rows point at window 0, column_weight at first_window.
struct PoolGradientLine {
  const void* const* dy;
  const void* const* y;  // power
  const double* row_weight;
  int64_t row_count;
  const void* x;  // power: the input row
  void* dx;
};

struct PoolGradientLines {
  const PoolGradientLine* lines;
  int64_t line_count;
  const void* column_weight;  // of the compute type
  int64_t first_window, windows;
  int64_t columns, step;
  const ReaderRun* runs;
  int64_t dy_pitch, dx_pitch, channels;  // lanes: elements from column to column
  double p;
  void* scratch;
};

// Rows of the same gradients in planes that are all alike, for windows of stride 1, or of stride 2 undilated:
// tap t of window (start + i - t * dilation) / stride lies on input column i < `columns`. Rows are counted
// and listed as in PoolRows; `from` are those of dy and y, `to` is that of dx and x.
struct PoolGradientRow {
  const int64_t* from;
  const double* weight;
  int64_t from_count, to;
};

struct PoolGradientRows {
  const void* dy;
  const void* y;  // power
  const void* x;
  void* dx;
  int64_t from_plane, to_plane;
  const PoolGradientRow* rows;
  int64_t row_count, begin, end;
  // All readers are among `windows` from first_window on; column_weight begins there, and has a vector more.
  // The lines in the scratch begin with window `low`.
  int64_t first_window, windows, low;
  const void* column_weight;
  int64_t start, stride, kernel, dilation, columns;
  bool dense;
  double p;
  void* scratch;
  int64_t lines, pitch;
};

constexpr int kTapsOfByte = 256;  // that a byte can tell apart

// target[i * pitch + c] += values[o * pitch + c] for o < count, c < channels, onto zeros. The position i is
// indices[o * pitch + c], or, where there are none, that of a tap of window o:
// start[o] + offset[taps[o * pitch + c]], which is one. False, with the target undefined, where an index is
// not in [0, positions).
struct PoolScatter {
  const void* values;
  const int64_t* indices;
  const std::uint8_t* taps;
  const std::int32_t* start;
  const std::int32_t* offset;
  int64_t reach;  // the largest offset
  int64_t count, channels, pitch;
  void* target;
  int64_t positions;
  bool stream;    // the target, with channels == pitch, is larger than the caches
  void* scratch;  // float16, bfloat16 and stream: positions * channels sums
};

struct PoolKernels {
  // Four ways to walk over windows, each for all operations and dtypes; see
  // kernels/pool_{rows,sliding,window,lanes}.h.
  void (*rows[kPoolOperations][kDtypeCount])(const PoolRows&);
  void (*sliding[kPoolOperations][kDtypeCount])(const PoolLines&);
  void (*window[kPoolOperations][kDtypeCount])(const PoolLines&);
  void (*lanes[kPoolOperations][kDtypeCount])(const PoolLines&);
  void (*find_taps[kDtypeCount])(const PoolRows&);  // see kernels/pool_taps.h
  // [0] mean, [1] power; see kernels/pool_gradient{,_rows}.h.
  void (*gradient_rows[2][kDtypeCount])(const PoolGradientRows&);
  void (*gradient_runs[2][kDtypeCount])(const PoolGradientLines&);
  void (*gradient_lanes[2][kDtypeCount])(const PoolGradientLines&);
  bool (*scatter_add[kDtypeCount])(const PoolScatter&);
};

}  // namespace fastconv::cpu
