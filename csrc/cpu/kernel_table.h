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

struct GemmKernels {
  int mr, nr;
  int row_pitch;
  void (*multiply_panel)(const PanelProduct&);
};

// A block of rows of contiguous elements in which every row ("planes") or every column is a channel. Adds,
// for each channel, to `sum` and `product` (see kernels/channel_reduction.h for the terms): double for
// planes, of the compute type for columns. `second` and `product` are null where the term has none; `centre`
// is of the compute type, null is zero.
struct ChannelReduction {
  const void* first;
  const void* second;
  int64_t rows, row_stride, cols;
  const void* centre;
  void* sum;
  void* product;
};

// Arrays of two are indexed by layout: [0] planes, [1] columns.
struct ChannelKernels {
  void (*sum[2][kDtypeCount])(const ChannelReduction&);
  void (*moments[2][kDtypeCount])(const ChannelReduction&);
  void (*gradient[2][kDtypeCount])(const ChannelReduction&);
  void (*narrow[kDtypeCount])(const void* compute, void* storage, int64_t count);
};

struct KernelTable {
  const char* isa;
  GemmKernels gemm[2];  // [0] float, [1] double
  void (*copy_block[kDtypeCount])(const BlockCopy&);
  void (*store_panel[kDtypeCount])(const PanelStore&);
  double (*fma_loop[2])(int64_t iterations);  // runs independent chains of fma; returns the FLOPs done
  ChannelKernels channel;
};

}  // namespace fastconv::cpu
