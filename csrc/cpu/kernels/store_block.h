// The epilogues (BlockStore and TurnedStore in contracts/products.h): bias and activation on
// accumulators, then the store in the storage type, as vectors where elements are contiguous in the result,
// else element by element.
#pragma once

#include "cpu/contracts/products.h"
#include "cpu/kernels/activations.h"
#include "cpu/kernels/vector_parts.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

template <class V, class S>
void store_strided(V x, int count, S* to, int64_t step) {
  if (step == 1) return store_some(to, count, x);
  S lanes[V::kLanes];
  store_as(lanes, x);
  for (int l = 0; l < count; ++l) to[l * step] = lanes[l];
}

// A vector of one row of accumulators, with bias and activation.
template <class V, class Kind, class T>
inline __attribute__((always_inline)) V finished(Kind kind, const T* c, int count, const T* row_bias,
                                                 const T* col_bias) {
  V x = load_some<V>(c, count);
  if (row_bias) x = x + V::all(*row_bias);
  if (col_bias) x = x + load_some<V>(col_bias, count);
  return activate(kind, x);
}

// One piece of one row; `count` is known to the compiler where it is kWidth.
template <class V, class S, class Kind, class T>
inline __attribute__((always_inline)) void store_piece(Kind kind, const T* c, int count, S* to, int64_t step,
                                                       const T* row_bias, const T* col_bias) {
  for (int n = 0; n < count; n += V::kLanes) {
    const int left = lanes_left<V>(n, count);
    store_strided(finished<V>(kind, c + n, left, row_bias, col_bias ? col_bias + n : nullptr), left,
                  to + n * step, step);
  }
}

// One of c and one of `between`, whose elements take turns.
template <class V, class S, class Kind, class T>
void store_two_pieces(Kind kind, const T* c, const T* between, int count, S* to, const T* row_bias,
                      const T* col_bias) {
  for (int n = 0; n < count; n += V::kLanes, to += 2 * V::kLanes) {
    const int left = lanes_left<V>(n, count);
    const T* of_cols = col_bias ? col_bias + n : nullptr;
    V low, high;
    interleave(finished<V>(kind, c + n, left, row_bias, of_cols),
               finished<V>(kind, between + n, left, row_bias, of_cols), &low, &high);
    store_some(to, lanes_left<V>(0, 2 * left), low);
    if (2 * left > V::kLanes) store_some(to + V::kLanes, 2 * left - V::kLanes, high);
  }
}

template <class V, class S, int kWidth>
void store_block(const BlockStore& b) {
  using T = typename V::Scalar;
  with_activation_or_costly(b.activation, [&b](auto kind) {
    const T* c = static_cast<const T*>(b.c);
    const T* between = static_cast<const T*>(b.between);
    const T* row_bias = static_cast<const T*>(b.row_bias);
    const T* col_bias = static_cast<const T*>(b.col_bias);
    for (int64_t m = 0; m < b.rows; ++m, c += kWidth) {
      S* row = static_cast<S*>(b.out) + b.row_offset[m];
      const T* of_row = row_bias ? row_bias + m : nullptr;
      for (int64_t i = 0; i < b.piece_count; ++i) {
        const StorePiece& piece = b.pieces[i];
        const T* of_cols = col_bias ? col_bias + piece.column : nullptr;
        if (between) {
          store_two_pieces<V, S>(kind, c + piece.from, between + m * kWidth + piece.from, piece.count,
                                 row + piece.to, of_row, of_cols);
        } else if (piece.count == kWidth && b.step == 1) {
          store_piece<V, S>(kind, c + piece.from, kWidth, row + piece.to, 1, of_row, of_cols);
        } else {
          store_piece<V, S>(kind, c + piece.from, piece.count, row + piece.to, b.step, of_row, of_cols);
        }
      }
    }
  });
}

// In squares of kLanes rows and columns; the last rows lie over their neighbours rather than beyond the end.
// The columns after these are asked for, as in copy_turned.
template <class V, class S, int kWidth>
void store_turned(const TurnedStore& b) {
  using T = typename V::Scalar;
  constexpr int kLanes = V::kLanes;
  with_activation_or_costly(b.activation, [&b](auto kind) {
    for (int n = 0; n < b.columns; n += kLanes) {
      const int columns = lanes_left<V>(n, b.columns);
      const T* c = static_cast<const T*>(b.c) + n;
      S* out = static_cast<S*>(b.out) + n * b.column_stride;
      V bias = V::zero();
      if (b.col_bias) bias = load_some<V>(static_cast<const T*>(b.col_bias) + n, columns);
      const auto finished = [&](int64_t m) {
        const V x = V::load(c + m * kWidth);
        return activate(kind, b.col_bias ? x + bias : x);
      };
      for (int64_t i = 0; i < b.rows; i += kLanes) {
        const int64_t row = vector_start<V>(i, b.rows);
        const int rows = lanes_left<V>(row, b.rows);
        S* to = out + row * b.row_step;
        for (int q = 0; q < kLanes; ++q) __builtin_prefetch(to + (kWidth + q) * b.column_stride);
        V square[kLanes];
        if (rows == kLanes && columns == kLanes && b.row_step == 1) {
#pragma GCC unroll 16
          for (int q = 0; q < kLanes; ++q) square[q] = finished(row + q);
          transpose(square);
#pragma GCC unroll 16
          for (int q = 0; q < kLanes; ++q) store_as(to + q * b.column_stride, square[q]);
        } else {
          for (int q = 0; q < kLanes; ++q) square[q] = q < rows ? finished(row + q) : V::zero();
          transpose(square);
          for (int q = 0; q < columns; ++q)
            store_strided(square[q], rows, to + q * b.column_stride, b.row_step);
        }
      }
    }
  });
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
