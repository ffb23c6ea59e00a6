// copy_block: the one primitive that every packer is made of (BlockCopy in contracts/products.h). It
// moves a strided rows x cols block, widening the storage type S to the compute type of V, and knows these
// shapes:
//
//   columns contiguous in the destination, and in the source or two apart there   vector copies along the row
//   columns contiguous in the source, rows contiguous in the destination   transposes in registers
//   anything else                      element by element
#pragma once

#include "cpu/contracts/products.h"
#include "cpu/kernels/vector_parts.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

// kStep elements apart: kLanes of them from p, or the first `count`; nothing beyond the last one is touched.
template <int kStep, class V, class S>
V load_step(const S* p, bool more) {
  if constexpr (kStep == 1)
    return load_as(p, V{});
  else
    return evens(load_as(p, V{}),
                 more ? load_as(p + V::kLanes, V{}) : load_partial_as(p + V::kLanes, V::kLanes - 1, V{}));
}
template <int kStep, class V, class S>
V load_step_partial(const S* p, int count) {
  if constexpr (kStep == 1) return load_partial_as(p, count, V{});
  const int reach = 2 * count - 1;  // elements from p to the last one wanted
  if (reach <= V::kLanes) return evens(load_partial_as(p, reach, V{}), V::zero());
  return evens(load_as(p, V{}), load_partial_as(p + V::kLanes, reach - V::kLanes, V{}));
}

template <int kStep, class V, class S, bool kAdd>
void copy_rows(const S* src, typename V::Scalar* dst, const BlockCopy& b) {
  using T = typename V::Scalar;
  constexpr int kLanes = V::kLanes;
  const int64_t whole = b.cols - b.cols % kLanes;
  const int rest = static_cast<int>(b.cols - whole);
  for (int64_t i = 0; i < b.rows; ++i, src += b.src_row_stride, dst += b.dst_row_stride) {
    for (int64_t j = 0; j < whole; j += kLanes) {
      V x = load_step<kStep, V>(src + j * kStep, j + kLanes < b.cols);
      if (kAdd) x = x + V::load(dst + j);
      x.store(dst + j);
    }
    if (rest) {
      T* d = dst + whole;
      V x = load_step_partial<kStep, V>(src + whole * kStep, rest);
      if (kAdd) x = x + V::load_partial(d, rest);
      x.store_partial(d, rest);
    }
  }
}

template <class V, class S>
typename V::Scalar widen_one(const S* p) {
  typename V::Scalar lanes[V::kLanes];
  load_partial_as(p, 1, V{}).store(lanes);
  return lanes[0];
}
template <class V>
float widen_one(const float* p) {
  return *p;
}
template <class V>
double widen_one(const double* p) {
  return *p;
}

template <class V, class S, bool kAdd>
void copy_elements(const S* src, typename V::Scalar* dst, const BlockCopy& b) {
  for (int64_t i = 0; i < b.rows; ++i) {
    const S* s = src + i * b.src_row_stride;
    typename V::Scalar* d = dst + i * b.dst_row_stride;
    for (int64_t j = 0; j < b.cols; ++j) {
      typename V::Scalar* to = d + j * b.dst_col_stride;
      const typename V::Scalar x = widen_one<V>(s + j * b.src_col_stride);
      *to = kAdd ? *to + x : x;
    }
  }
}

// Rows `stride` apart; those beyond `rows` are zero.
template <class V, class S>
inline __attribute__((always_inline)) void load_square(const S* from, int64_t stride, int rows, int cols,
                                                       V (&square)[V::kLanes]) {
  if (rows == V::kLanes && cols == V::kLanes) {
#pragma GCC unroll 16
    for (int q = 0; q < V::kLanes; ++q) square[q] = load_as(from + q * stride, V{});
  } else {
    for (int q = 0; q < V::kLanes; ++q)
      square[q] = q < rows ? load_some<V>(from + q * stride, cols) : V::zero();
  }
}

// In squares of kLanes rows and columns, through registers; those at the rims in part.
template <class V, class S>
void copy_transposed(const S* src, typename V::Scalar* dst, const BlockCopy& b) {
  constexpr int kLanes = V::kLanes;
  for (int64_t i = 0; i < b.rows; i += kLanes) {
    const int rows = lanes_left<V>(i, b.rows);
    for (int64_t j = 0; j < b.cols; j += kLanes) {
      const int cols = lanes_left<V>(j, b.cols);
      const S* from = src + i * b.src_row_stride + j;
      typename V::Scalar* to = dst + i + j * b.dst_col_stride;
      if (rows * cols <= 2 * kLanes) {
        BlockCopy few = b;
        few.rows = rows;
        few.cols = cols;
        copy_elements<V, S, false>(from, to, few);
        continue;
      }
      V square[kLanes];
      load_square(from, b.src_row_stride, rows, cols, square);
      transpose(square);
      if (rows == kLanes && cols == kLanes) {
#pragma GCC unroll 16
        for (int q = 0; q < kLanes; ++q) square[q].store(to + q * b.dst_col_stride);
      } else {
        for (int q = 0; q < cols; ++q) store_some(to + q * b.dst_col_stride, rows, square[q]);
      }
    }
  }
}

template <class V, class S, bool kAdd>
void copy_shaped(const BlockCopy& b) {
  const S* src = static_cast<const S*>(b.src);
  typename V::Scalar* dst = static_cast<typename V::Scalar*>(b.dst);
  if (b.src_col_stride == 1 && b.dst_col_stride == 1) {
    copy_rows<1, V, S, kAdd>(src, dst, b);
  } else if (b.src_col_stride == 2 && b.dst_col_stride == 1) {
    copy_rows<2, V, S, kAdd>(src, dst, b);
  } else if (!kAdd && b.src_col_stride == 1 && b.dst_row_stride == 1) {
    copy_transposed<V, S>(src, dst, b);
  } else {
    copy_elements<V, S, kAdd>(src, dst, b);
  }
}

template <class V, class S>
void copy_block(const BlockCopy& block) {
  // A block may be looked at from either side: make contiguous source elements its columns.
  BlockCopy b = block;
  const bool flip = (b.src_col_stride != 1 && b.src_row_stride == 1) || (b.cols == 1 && b.rows > 1);
  if (flip) {
    b = {block.src,  block.src_col_stride, block.src_row_stride,
         block.dst,  block.dst_col_stride, block.dst_row_stride,
         block.cols, block.rows,           block.add};
  }
  if (b.add) {
    copy_shaped<V, S, true>(b);
  } else {
    copy_shaped<V, S, false>(b);
  }
}

// In squares too; the last elements' lie over their neighbours' rather than beyond the end. The lines of a
// small image are too short for the hardware to see what comes next: it is asked for the lines after these.
template <class V, class S, int kVectors>
void copy_turned(const TurnedCopy& b) {
  constexpr int kLanes = V::kLanes;
  const S* src = static_cast<const S*>(b.src);
  typename V::Scalar* dst = static_cast<typename V::Scalar*>(b.dst);
  for (int64_t i = 0; i < b.count; i += kLanes) {
    const int64_t j = vector_start<V>(i, b.count);
    const int count = lanes_left<V>(j, b.count);
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const S* from = src + v * kLanes * b.line_stride + j;
#pragma GCC unroll 16
      for (int q = 0; q < kLanes; ++q) __builtin_prefetch(from + (kVectors * kLanes + q) * b.line_stride);
      if (v * kLanes >= b.lines) break;
      V square[kLanes];
      load_square(from, b.line_stride, lanes_left<V>(v * kLanes, b.lines), count, square);
      transpose(square);
      typename V::Scalar* to = dst + v * kLanes;
      if (count == kLanes) {
#pragma GCC unroll 16
        for (int q = 0; q < kLanes; ++q) square[q].store(to + b.offset[j + q]);
      } else {
        for (int q = 0; q < count; ++q) square[q].store(to + b.offset[j + q]);
      }
    }
  }
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
