// The epilogue (contract: BlockStore in kernel_table.h): bias and activation on accumulators, then the store
// in the storage type, as vectors where a piece's columns are contiguous, else element by element.
#pragma once

#include "cpu/kernel_table.h"
#include "cpu/kernels/activations.h"
#include "cpu/kernels/vector_parts.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

// One piece of one row; `count` is known to the compiler where it is kWidth.
template <class V, class S, class Kind, class T>
inline __attribute__((always_inline)) void store_piece(Kind kind, const T* c, int count, S* to, int64_t step,
                                                       const T* row_bias, const T* col_bias) {
  for (int n = 0; n < count; n += V::kLanes) {
    const int left = lanes_left<V>(n, count);
    V x = load_some<V>(c + n, left);
    if (row_bias) x = x + V::all(*row_bias);
    if (col_bias) x = x + load_some<V>(col_bias + n, left);
    x = activate(kind, x);
    if (step == 1) {
      store_some(to + n, left, x);
    } else {
      S lanes[V::kLanes];
      store_as(lanes, x);
      for (int l = 0; l < left; ++l) to[(n + l) * step] = lanes[l];
    }
  }
}

template <class V, class S, int kWidth>
void store_block(const BlockStore& b) {
  using T = typename V::Scalar;
  with_activation(b.activation, [&b](auto kind) {
    const T* c = static_cast<const T*>(b.c);
    const T* row_bias = static_cast<const T*>(b.row_bias);
    const T* col_bias = static_cast<const T*>(b.col_bias);
    for (int64_t m = 0; m < b.rows; ++m, c += kWidth) {
      S* row = static_cast<S*>(b.out) + b.row_offset[m];
      const T* of_row = row_bias ? row_bias + m : nullptr;
      for (int64_t i = 0; i < b.piece_count; ++i) {
        const StorePiece& piece = b.pieces[i];
        const T* of_cols = col_bias ? col_bias + piece.column : nullptr;
        if (piece.count == kWidth && b.step == 1) {
          store_piece<V, S>(kind, c + piece.from, kWidth, row + piece.to, 1, of_row, of_cols);
        } else {
          store_piece<V, S>(kind, c + piece.from, piece.count, row + piece.to, b.step, of_row, of_cols);
        }
      }
    }
  });
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
