// Matrix products: blocks copied into packed panels, panels multiplied, accumulators stored.
//
// A micro-kernel knows nothing of convolution. It multiplies packed panels:
//
//   A: rows of `depth` elements, row m at a + m * row_pitch          (broadcast along a row of the tile)
//   B: nr columns, element (k, n) at b + b_offset[k] + n             (vectors of nr)
//   C: accumulators of one column panel, element (m, n) at c + m * nr + n
//
//   C[m][n] = (accumulate ? C[m][n] : 0) + sum over k < depth of A[m][k] * B[k][n]
//
// depth <= row_pitch; lanes past the last real column may hold anything.
#pragma once

#include <cstdint>

#include "core/activation.h"
#include "core/dtype.h"

namespace fastconv::cpu {

using std::int64_t;

// dst(i, j) = src(i, j), or += with `add`, for i < rows, j < cols; dst is of the compute type.
struct BlockCopy {
  const void* src;
  int64_t src_row_stride, src_col_stride;
  void* dst;
  int64_t dst_row_stride, dst_col_stride;
  int64_t rows, cols;
  bool add;
};

// Lines of contiguous elements turned over into elements of nr lanes: dst[offset[j]] + c = element j of line
// c < lines, for j < count.
struct TurnedCopy {
  const void* src;
  int64_t line_stride;
  int lines;  // at most nr
  int64_t count;
  void* dst;
  const int64_t* offset;
};

// Memory that will be wanted soon, asked for while there is something to compute: `count` stretches of
// `bytes`, `pitch` bytes apart.
struct Ahead {
  const char* first;
  int64_t pitch, count, bytes;
};

// Where finished sums go instead of to C, in the compute type: row m of a panel, all nr columns, at out +
// row_offset[m], as BlockStore (below) would write it.
struct PanelStore {
  void* out;
  const int64_t* row_offset;
  const void* row_bias;
  const void* col_bias;
  Activation activation;
};

struct PanelProduct {
  const void* a;
  const void* b;
  const int64_t* b_offset;
  void* c;
  int64_t rows, depth;
  int64_t chain;  // terms that are summed up before they are added to C, at least 1
  int tile_rows;  // rows of A taken at a time, 1 <= tile_rows <= mr
  int columns;    // real columns of this panel, 1 <= columns <= nr
  bool accumulate;
  Ahead ahead;
  const PanelStore* store;  // null: to C
};

// Neighbouring columns of one panel, at most nr: row m of them lies at c + from + m * nr, and at out + to +
// row_offset[m], `step` apart. Their biases start at col_bias + column.
struct StorePiece {
  int64_t from, to, column;
  int count;
};

// Writes a block of accumulators, row by row and piece by piece: activation(c + row_bias[m] + col_bias[n]),
// rounded to the storage type. Columns in no piece are dropped. A null bias counts as zero.
struct BlockStore {
  const void* c;
  int64_t rows;
  void* out;
  const int64_t* row_offset;
  const StorePiece* pieces;
  int64_t piece_count, step;
  const void* row_bias;
  const void* col_bias;
  Activation activation;
  const void* between = nullptr;  // accumulators like c whose elements go between c's, with a step of 2
};

// The same turned over: column n < columns of row m, at c + m * nr + n, goes to out + n * column_stride + m *
// row_step.
struct TurnedStore {
  const void* c;
  int64_t rows;
  int columns;  // at most nr
  void* out;
  int64_t row_step, column_stride;
  const void* col_bias;
  Activation activation;
};

struct GemmKernels {
  int mr, nr;
  int short_chain_rows;  // the best tile_rows where chains are short (cpu/blocking.h: set_chain)
  int row_pitch;
  void (*multiply_panel)(const PanelProduct&);
};

}  // namespace fastconv::cpu
