// The contract between drivers (compiled once) and kernels (compiled once per instruction set): plain structs of
// arguments and of function pointers. Strides and counts are in elements. "Compute type" is double for float64
// and float for everything else; arrays indexed by Dtype take storage of that type.
//
// A micro-kernel knows nothing of convolution. It multiplies packed panels:
//
//   A: rows of `depth` elements, row m at a + m * row_pitch          (broadcast along a row of the tile)
//   B: column panels of nr, element (k, n) at b + k * nr + n         (vectors of nr)
//   C: accumulators of one column panel, element (m, n) at c + m * nr + n
//
//          nr columns                C[m][n] = (accumulate ? C[m][n] : 0) + sum over k < depth of A[m][k] * B[k][n]
//        +-----------+
//   row  | . . . . . |  <- a[m][0..depth)   depth <= row_pitch; lanes past the last real column hold zeros
//        +-----------+
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "core/taps.h"

namespace fastconv::cpu {

using std::int64_t;

enum class Activation : int { none, relu, relu6, leaky_relu, sigmoid, tanh, gelu, silu };

// dst(i, j) = src(i, j), or += with `add`, for i < rows, j < cols; dst is of the compute type.
struct BlockCopy {
  const void* src;
  int64_t src_row_stride, src_col_stride;
  void* dst;
  int64_t dst_row_stride, dst_col_stride;
  int64_t rows, cols;
  bool add;
};

struct PanelProduct {
  const void* a;
  const void* b;
  void* c;
  int64_t rows, depth;
  int tile_rows;  // rows of A taken at a time, 1 <= tile_rows <= mr
  int columns;    // real columns of this panel, 1 <= columns <= nr
  bool accumulate;
};

// Writes one column panel of accumulators: out[row_offset[m] + col_offset[n]] =
// activation(c(m, n) + row_bias[m] + col_bias[n]), rounded to the storage type. A null bias counts as zero.
struct PanelStore {
  void* c;  // overwritten as scratch
  int64_t rows;
  int columns;
  void* out;
  const int64_t* row_offset;
  const int64_t* col_offset;
  bool columns_contiguous;  // col_offset[n] == col_offset[0] + n
  const void* row_bias;
  const void* col_bias;
  Activation activation;
};

struct GemmKernels {
  int mr, nr;
  int row_pitch;
  void (*multiply_panel)(const PanelProduct&);
};

enum class PoolOperation : int { max, mean, power };  // power: (sum |x|^p)^(1/p)
constexpr int kPoolOperations = 3;

// Parts of output rows of a pool: the same `columns` output columns of each line. Window j holds the input columns
// taps[j].first, + step, ... of each of its line's rows, which point at column 0 and come in the order of the plane: row k
// begins at its flat position row_position[k]. No rows, or no taps, is an empty window.
struct PoolLine {
  const void* const* rows;
  const int64_t* row_position;
  int64_t row_count;
  double divisor;    // mean: of the rows ...
  void* y;
  int64_t* indices;  // max: flat positions of the maxima, or null; -1 where a window is empty
};

struct PoolLines {
  const PoolLine* lines;
  int64_t line_count;
  const Taps* taps;  // but sliding
  int64_t columns, step;
  int64_t start, stride, kernel, input;  // sliding: window j is kernel taps from column start + j * stride on; input columns
  int64_t x_pitch, y_pitch, channels;    // lanes: elements from column to column of input and result
  const void* divisor;                   // mean: ... times that of each output column, of the compute type; else null
  double p;
  void* scratch;
};

// Parts of rows of the gradient at a pool's input: sums over the windows that hold each of `columns` input columns.
//   mean     dx = sum of w * dy, w = row_weight[k] * column_weight[o]
//   power    dx = sign(x) |x|^(p-1) * sum of w * dy / y^(p-1), and 0 where x or y is 0
// The windows are columns readers.first, + step, ... of each of the output rows dy[k] and y[k]; all are among the `windows`
// from first_window on. Rows point at window 0, column_weight at first_window.
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
  // Sliding windows of stride 1, or of stride 2 undilated: tap t of window (start + i - t * dilation) / stride lies on
  // input column i. Stride 0: the runs tell, as they do for lanes.
  int64_t start, stride, kernel, dilation;
  const ReaderRun* runs;
  int64_t dy_pitch, dx_pitch, channels;  // lanes: elements from column to column
  double p;
  void* scratch;
};

// target[indices[o * pitch + c] * pitch + c] += values[o * pitch + c] for o < count, c < channels, onto zeros. False, with
// the target undefined, where an index is not in [0, positions).
struct PoolScatter {
  const void* values;
  const int64_t* indices;
  int64_t count, channels, pitch;
  void* target;
  int64_t positions;
  bool stream;    // the target, with channels == pitch, is larger than the caches
  void* scratch;  // float16, bfloat16 and stream: positions * channels sums
};

struct PoolKernels {
  // Three ways to walk over windows, each for all operations and dtypes; see kernels/pool_{sliding,window,lanes}.h.
  void (*sliding[kPoolOperations][kDtypeCount])(const PoolLines&);
  void (*window[kPoolOperations][kDtypeCount])(const PoolLines&);
  void (*lanes[kPoolOperations][kDtypeCount])(const PoolLines&);
  // [0] mean, [1] power; see kernels/pool_gradient.h.
  void (*gradient_row[2][kDtypeCount])(const PoolGradientLines&);
  void (*gradient_lanes[2][kDtypeCount])(const PoolGradientLines&);
  bool (*scatter_add[kDtypeCount])(const PoolScatter&);
};

struct KernelTable {
  const char* isa;
  GemmKernels gemm[2];  // [0] float, [1] double
  void (*copy_block[kDtypeCount])(const BlockCopy&);
  void (*store_panel[kDtypeCount])(const PanelStore&);
  PoolKernels pool;
  double (*fma_loop[2])(int64_t iterations);  // runs independent chains of fma; returns the FLOPs done
};

}  // namespace fastconv::cpu
