// Small windows along contiguous rows (contract: PoolRows in kernel_table.h), in two steps over a group of
// rows of windows that stays in L1:
//
//   columns   the input rows under each of them become one line, with as much padding around it as the windows
//             reach into
//   windows   at every position of a line its kernel neighbours are merged, and each stride-th of these is kept
//
// The second step reads what the first wrote at other offsets, which a CPU can't do until the writes have left
// its store buffer: hence the group. Vectors that overlap replace parts of vectors wherever that is possible.
#pragma once

#include "cpu/kernel_table.h"
#include "cpu/kernels/pool_operations.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

// Row after row of PoolRows, through all planes.
class RowCursor {
 public:
  RowCursor(const PoolRows& r, int64_t row)
      : r_(r), plane_(row / r.row_count), row_(r.rows + row % r.row_count) {}
  const PoolRow& row() const { return *row_; }
  int64_t from() const { return plane_ * r_.x_plane; }
  int64_t to() const { return plane_ * r_.y_plane + row_->to; }
  void advance() {
    if (++row_ < r_.rows + r_.row_count) return;
    row_ = r_.rows;
    ++plane_;
  }

 private:
  const PoolRows& r_;
  int64_t plane_;
  const PoolRow* row_;
};

// The merged rows at `x + from[k]`. kRows unrolls the commonest heights; 0 is any.
template <class V, int kRows, class S, class Operation>
V merge_column(const Operation& operation, const S* x, const int64_t* from, int64_t rows, int count) {
  const auto at = [&](int64_t k) { return load_some<V>(x + from[k], count); };
  const int64_t all = kRows ? kRows : rows;
  auto state = operation.start();
  int64_t k = 0;
  if constexpr (Operation::kPlain && kRows != 0) state = at(k++);
#pragma GCC unroll 4
  for (; k < all; ++k) operation.add(state, at(k), 0);
  return state;
}

// line[i] for i < width. Rows shorter than a vector are followed by neutral elements.
template <class V, int kRows, class S, class Operation>
void merge_rows(const Operation& operation, const S* x, const PoolRow& row, int64_t width,
                typename V::Scalar* line) {
  const auto column = [&](int64_t i, int count) {
    return merge_column<V, kRows>(operation, x + i, row.from, row.from_count, count);
  };
  if (width < V::kLanes) {
    const int count = static_cast<int>(width);
    if (width > 0) masked(operation, column(0, count), count).store(line);
    return;
  }
  for (int64_t i = 0; i < width; i += V::kLanes) {
    const int64_t begin = vector_start<V>(i, width);
    column(begin, V::kLanes).store(line + begin);
  }
}
template <class V, class S, class Operation>
void merge_rows(const Operation& operation, const S* x, const PoolRow& row, int64_t width,
                typename V::Scalar* line) {
  switch (row.from_count) {
    case 1:
      return merge_rows<V, 1>(operation, x, row, width, line);
    case 2:
      return merge_rows<V, 2>(operation, x, row, width, line);
    case 3:
      return merge_rows<V, 3>(operation, x, row, width, line);
    default:
      return merge_rows<V, 0>(operation, x, row, width, line);
  }
}

// Each kStride-th element that at() gives from i on.
template <class V, int kStride, class At>
V every(const At& at, int64_t i) {
  if constexpr (kStride == 1) {
    return at(i);
  } else if constexpr (kStride % 2 == 0) {
    return evens(every<V, kStride / 2>(at, i), every<V, kStride / 2>(at, i + kStride / 2 * V::kLanes));
  } else {
    typename V::Scalar all[kStride * V::kLanes], taken[V::kLanes];
    for (int n = 0; n < kStride; ++n) at(i + n * V::kLanes).store(all + n * V::kLanes);
    for (int n = 0; n < V::kLanes; ++n) taken[n] = all[n * kStride];
    return V::load(taken);
  }
}

// `lines` hold what `rows` rows of windows from the cursor on lie over; `left` rows are yet to be written.
template <class V, class S, int kStride, int kTaps, class Operation>
void merge_windows(const PoolRows& r, const Operation& operation, RowCursor& cursor, int64_t rows,
                   int64_t left) {
  using T = typename V::Scalar;
  const T* const column_divisor = static_cast<const T*>(r.divisor);
  const int64_t taps = kTaps ? kTaps : r.kernel;
  const T* line = static_cast<const T*>(r.scratch);
  for (int64_t n = 0; n < rows; ++n, line += r.pitch, cursor.advance()) {
    const auto merged = [&](int64_t i) {
      V v = V::load(line + i);
#pragma GCC unroll 4
      for (int64_t t = 1; t < taps; ++t) v = operation.merge(v, V::load(line + i + t * r.step));
      return v;
    };
    S* const y = static_cast<S*>(r.y) + cursor.to();
    const V row_divisor = V::all(static_cast<T>(cursor.row().divisor));
    const int64_t end = r.dense ? (left - n) * r.columns : r.columns;
    for (int64_t o = 0; o < r.columns; o += V::kLanes) {
      const V v = every<V, kStride>(merged, o * kStride);
      const V divisor = column_divisor ? row_divisor * V::load(column_divisor + o) : row_divisor;
      store_some(y + o, lanes_left<V>(o, end), operation.finish(v, divisor));
    }
  }
}
template <class V, class S, int kStride, class Operation>
auto windows_merger(int64_t kernel) {
  return kernel == 2   ? merge_windows<V, S, kStride, 2, Operation>
         : kernel == 3 ? merge_windows<V, S, kStride, 3, Operation>
                       : merge_windows<V, S, kStride, 0, Operation>;
}
template <class V, class S, class Operation>
auto windows_merger(int64_t kernel, int64_t stride) {
  return stride == 1   ? windows_merger<V, S, 1, Operation>(kernel)
         : stride == 2 ? windows_merger<V, S, 2, Operation>(kernel)
         : stride == 3 ? windows_merger<V, S, 3, Operation>(kernel)
                       : windows_merger<V, S, 4, Operation>(kernel);
}

template <class V, class S, class Operation>
void walk_rows(const PoolRows& r, const Operation& operation) {
  using T = typename V::Scalar;
  const int64_t size = (r.columns - 1) * r.stride + (r.kernel - 1) * r.step + 1;
  const LineSpan span = inside(r.start, r.input, size);
  typename V::Scalar outside[V::kLanes];
  operation.value(operation.start()).store(outside);
  T* const lines = static_cast<T*>(r.scratch);
  for (int64_t n = 0; n < r.lines; ++n) {
    fill(lines + n * r.pitch, span.begin, outside[0]);
    fill(lines + n * r.pitch + span.end, size - span.end, outside[0]);
  }
  const auto merge = windows_merger<V, S, Operation>(r.kernel, r.stride);
  RowCursor reading(r, r.begin), writing(r, r.begin);
  for (int64_t left = r.end - r.begin; left > 0; left -= r.lines) {
    const int64_t rows = left < r.lines ? left : r.lines;
    for (int64_t n = 0; n < rows; ++n, reading.advance()) {
      merge_rows<V>(operation, static_cast<const S*>(r.x) + reading.from() + r.start + span.begin,
                    reading.row(), span.end - span.begin, lines + n * r.pitch + span.begin);
    }
    merge(r, operation, writing, rows, left);
  }
}

template <class V, class S, PoolOperation kOperation>
void pool_rows(const PoolRows& r) {
  with_operation<V, kOperation>(r.p, [&](const auto& operation) { walk_rows<V, S>(r, operation); });
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
