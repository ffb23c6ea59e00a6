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

// Depthwise filtering of one line of positions. Tap t reads from lines[t]: element j of a row, or (lanes) nr neighbouring
// channels of position j at j * step. Counts may run up to whole vectors: lines and `out` have room, and zeros where a sum
// would see them.
struct DepthwiseLine {
  const void* const* lines;
  int64_t taps;
  const void* weights;  // one each tap, or (lanes) nr
  int64_t count;
  int64_t step;  // lanes only
  void* out;     // filter: count sums, or count x nr. correlate: a vector of partial sums each tap, or nr sums; added to
  bool accumulate;
  const void* values;  // correlate only: what the lines are multiplied by, laid out as filter's `out`
};

struct DepthwiseKernels {
  void (*filter_row)(const DepthwiseLine&);       // out[j] (+)= sum over t of weights[t] * lines[t][j]
  void (*filter_lanes)(const DepthwiseLine&);
  void (*correlate_row)(const DepthwiseLine&);    // out[t] += sum over j of values[j] * lines[t][j], lane by lane
  void (*correlate_lanes)(const DepthwiseLine&);
  int lanes;  // of a vector
};

struct GemmKernels {
  int mr, nr;
  int row_pitch;
  void (*multiply_panel)(const PanelProduct&);
};

struct KernelTable {
  const char* isa;
  GemmKernels gemm[2];  // [0] float, [1] double
  void (*copy_block[kDtypeCount])(const BlockCopy&);
  void (*store_panel[kDtypeCount])(const PanelStore&);
  DepthwiseKernels depthwise[2];
  double (*fma_loop[2])(int64_t iterations);  // runs independent chains of fma; returns the FLOPs done
};

}  // namespace fastconv::cpu
