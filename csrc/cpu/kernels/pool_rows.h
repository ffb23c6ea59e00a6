// Small windows along contiguous rows (PoolRows in contracts/pools.h), in two steps over a group of
// rows of windows that stays in L1:
//
//   columns   the input rows under each of them become one line, with as much padding as windows reach into
//   windows   the neighbours under a kernel are merged at every position of a line, each stride-th is kept
//
// The second step reads what the first wrote at other offsets, which a CPU can't do until the writes have
// left its store buffer: hence the group. Windows side by side, as many taps as their stride and none outside
// the input, need no lines: even and odd taps of what is under them are merged in registers.
//
// The last vector of a row is laid back over its neighbours; only rows shorter than a vector need parts of
// one.
#pragma once

#include "cpu/contracts/pools.h"
#include "cpu/kernels/pool_operations.h"
#include "cpu/kernels/small_counts.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

// Row after row of PoolRows or PoolGradientRows, through all planes.
template <class Rows, class Row>
class RowCursor {
 public:
  RowCursor(const Rows& r, const Row* rows)
      : first_(rows),
        end_(rows + r.row_count),
        row_(rows + r.begin % r.row_count),
        from_plane_(r.from_plane),
        to_plane_(r.to_plane),
        from_(r.begin / r.row_count * from_plane_),
        to_(r.begin / r.row_count * to_plane_) {}
  const Row& row() const { return *row_; }
  int64_t from() const { return from_; }  // the plane's first element
  int64_t to() const { return to_ + row_->to; }
  void advance() {
    if (++row_ < end_) return;
    row_ = first_;
    from_ += from_plane_;
    to_ += to_plane_;
  }

 private:
  const Row* const first_;
  const Row* const end_;
  const Row* row_;
  const int64_t from_plane_, to_plane_;
  int64_t from_, to_;
};

// Calls body(i) for vectors that cover [0, count), count >= V::kLanes.
template <class V, class Body>
void for_each_laid_back(int64_t count, const Body& body) {
  const int64_t last = count - V::kLanes;
  for (int64_t i = 0; i < last; i += V::kLanes) body(i);
  body(last);
}

// Elements of the rows from[k] merged; with kRows == 0 of any number of them.
template <class V, class S, int kRows, class Operation>
class Columns {
 public:
  Columns(const Operation& operation, const S* x, const PoolRow& row)
      : operation_(operation), x_(x), from_(row.from), rows_(row.from_count) {
    for (int k = 0; k < kRows; ++k) row_[k] = x + row.from[k];
  }
  V operator()(int64_t i, int count = V::kLanes) const {
    auto state = operation_.start();
    if constexpr (kRows == 0) {
      for (int64_t k = 0; k < rows_; ++k) operation_.add(state, load_some<V>(x_ + from_[k] + i, count), 0);
    } else {
      int k = 0;
      if constexpr (Operation::kPlain) state = load_some<V>(row_[k++] + i, count);
#pragma GCC unroll 4
      for (; k < kRows; ++k) operation_.add(state, load_some<V>(row_[k] + i, count), 0);
    }
    return operation_.value(state);
  }

 private:
  const Operation& operation_;
  const S* const x_;
  const int64_t* const from_;
  const int64_t rows_;
  const S* row_[kRows ? kRows : 1];
};

// What the results of a row of windows are divided by, column by column.
template <class V, class Operation>
class RowDivisor {
 public:
  using T = typename V::Scalar;
  RowDivisor(const PoolRows& r, const PoolRow& row)
      : row_(V::all(static_cast<T>(row.divisor))), column_(static_cast<const T*>(r.divisor)) {}
  V operator()(int64_t o) const {
    if constexpr (Operation::kDivided) return row_ * V::load(column_ + o);
    return row_;
  }

 private:
  const V row_;
  const T* const column_;
};

// Writes window(o) for o < columns to y, or, where that is less than a vector, window(0): up to `end` of its
// lanes.
template <class V, class S, class Operation, class Window>
void store_windows(const Operation& operation, const RowDivisor<V, Operation>& divisor, int64_t columns,
                   int64_t end, S* y, const Window& window) {
  const auto result = [&](int64_t o) { return operation.finish(window(o), divisor(o)); };
  if (columns < V::kLanes) return store_some(y, lanes_left<V>(0, end), result(0));
  for_each_laid_back<V>(columns, [&](int64_t o) { store_as(y + o, result(o)); });
}

// Each stride-th element that at() gives from i on; kStride is the stride, or 0 for any up to kMostRowStride.
template <class V, int kStride, class At>
V every(const At& at, int64_t i, int64_t stride) {
  if constexpr (kStride == 1) {
    return at(i);
  } else if constexpr (kStride == 2) {
    return evens(at(i), at(i + V::kLanes));
  } else {
    typename V::Scalar all[kMostRowStride * V::kLanes], taken[V::kLanes];
    for (int64_t n = 0; n < stride; ++n) at(i + n * V::kLanes).store(all + n * V::kLanes);
    for (int n = 0; n < V::kLanes; ++n) taken[n] = all[n * stride];
    return V::load(taken);
  }
}

// kTaps neighbours that at() gives from i on, merged, and those after them.
template <class V, int kTaps, class Operation, class At>
V every_merged(const Operation& operation, const At& at, int64_t i) {
  if constexpr (kTaps == 1) {
    return at(i);
  } else {
    const V a = every_merged<V, kTaps / 2>(operation, at, i);
    const V b = every_merged<V, kTaps / 2>(operation, at, i + kTaps / 2 * V::kLanes);
    return operation.merge(evens(a, b), odds(a, b));
  }
}

using PoolCursor = RowCursor<PoolRows, PoolRow>;

// `lines` hold what `rows` rows of windows from the cursor on lie over; `left` rows are yet to be written.
template <class V, class S, int kStride, int kTaps, class Operation>
void merge_windows(const PoolRows& r, const Operation& operation, PoolCursor& cursor, int64_t rows,
                   int64_t left) {
  using T = typename V::Scalar;
  const int64_t taps = kTaps ? kTaps : r.kernel, stride = kStride ? kStride : r.stride;
  const int64_t step = r.step, columns = r.columns, pitch = r.pitch;
  S* const y = static_cast<S*>(r.y);
  const bool dense = r.dense;
  const T* line = static_cast<const T*>(r.scratch);
  for (; rows > 0; --rows, --left, line += pitch, cursor.advance()) {
    const auto merged = [&](int64_t i) {
      V v = V::load(line + i);
#pragma GCC unroll 4
      for (int64_t t = 1; t < taps; ++t) v = operation.merge(v, V::load(line + i + t * step));
      return v;
    };
    store_windows<V>(operation, RowDivisor<V, Operation>(r, cursor.row()), columns,
                     dense ? left * columns : columns, y + cursor.to(),
                     [&](int64_t o) { return every<V, kStride>(merged, o * stride, stride); });
  }
}
template <class V, class S, class Operation>
auto windows_merger(int64_t kernel, int64_t stride) {
  return with_count(Counts<1, 2>(), stride, [&](auto step) {
    return with_count(CountsThatPay<V, S, Operation::kPlain, 2, 3>(), kernel,
                      [&](auto taps) { return merge_windows<V, S, step(), taps(), Operation>; });
  });
}

// Whether `count` elements from column `first` of the windows' columns on can be read in each row under the
// cursor, whatever they are.
inline bool readable(const PoolRows& r, const PoolCursor& cursor, int64_t first, int64_t count) {
  const PoolRow& row = cursor.row();
  return row.from_count == 0 ||
         cursor.from() + row.from[row.from_count - 1] + r.start + first + count <= r.readable;
}

// Windows of kTaps elements side by side.
template <class V, class S, int kTaps, class Operation>
void walk_side_by_side(const PoolRows& r, const Operation& operation) {
  PoolCursor cursor(r, r.rows);
  const S* const x = static_cast<const S*>(r.x) + r.start;
  S* const y = static_cast<S*>(r.y);
  const int64_t columns = r.columns, reach = columns * kTaps;
  for (int64_t left = r.end - r.begin; left > 0; --left, cursor.advance()) {
    const PoolRow& row = cursor.row();
    const RowDivisor<V, Operation> divisor(r, row);
    const int64_t end = r.dense ? left * columns : columns;
    const auto store = [&](const auto& at) {
      store_windows<V>(operation, divisor, columns, end, y + cursor.to(),
                       [&](int64_t o) { return every_merged<V, kTaps>(operation, at, o * kTaps); });
    };
    if (columns >= V::kLanes || readable(r, cursor, 0, kTaps * V::kLanes)) {
      with_count(Counts<1, kTaps>(), row.from_count, [&](auto rows) {
        const Columns<V, S, rows(), Operation> under(operation, x + cursor.from(), row);
        store([&](int64_t i) { return under(i); });
      });
    } else {
      const Columns<V, S, 0, Operation> under(operation, x + cursor.from(), row);
      store([&](int64_t i) { return under(i, i < reach ? lanes_left<V>(i, reach) : 0); });
    }
  }
}

template <class V, class S, class Operation>
void walk_rows(const PoolRows& r, const Operation& operation) {
  using T = typename V::Scalar;
  using Rows = CountsThatPay<V, S, Operation::kPlain, 1, 2, 3>;
  const int64_t size = (r.columns - 1) * r.stride + (r.kernel - 1) * r.step + 1;
  const LineSpan span = inside(r.start, r.input, size);
  const int64_t width = span.end - span.begin;
  if (r.kernel == r.stride && r.step == 1 && width == size) {
    const bool walked = with_count(CountsThatPay<V, S, Operation::kPlain, 2, 4>(), r.kernel, [&](auto taps) {
      if constexpr (taps() > 0) walk_side_by_side<V, S, taps()>(r, operation);
      return taps() > 0;
    });
    if (walked) return;
  }
  T outside[V::kLanes];
  operation.value(operation.start()).store(outside);
  T* const lines = static_cast<T*>(r.scratch);
  const int64_t pitch = r.pitch;
  for (int64_t n = 0; n < r.lines; ++n) {
    fill(lines + n * pitch, span.begin, outside[0]);
    fill(lines + n * pitch + span.end, size - span.end, outside[0]);
  }
  const auto merge = windows_merger<V, S, Operation>(r.kernel, r.stride);
  const S* const x = static_cast<const S*>(r.x) + r.start + span.begin;
  PoolCursor reading(r, r.rows), writing(r, r.rows);
  for (int64_t left = r.end - r.begin; left > 0; left -= r.lines) {
    const int64_t rows = left < r.lines ? left : r.lines;
    T* line = lines + span.begin;
    for (int64_t n = 0; n < rows; ++n, line += pitch, reading.advance()) {
      const PoolRow& row = reading.row();
      with_count(Rows(), row.from_count, [&](auto count_of_rows) {
        const Columns<V, S, count_of_rows(), Operation> under(operation, x + reading.from(), row);
        if (width >= V::kLanes) {
          for_each_laid_back<V>(width, [&](int64_t i) { under(i).store(line + i); });
        } else if (width > 0) {  // neutral elements follow
          const int count = static_cast<int>(width);
          const bool whole = readable(r, reading, span.begin, V::kLanes);
          masked(operation, whole ? under(0) : under(0, count), count).store(line);
        }
      });
    }
    merge(r, operation, writing, rows, left);
  }
}

template <class V, class S, PoolOperation kOperation>
void pool_rows(const PoolRows& r) {
  if constexpr (kOperation == PoolOperation::mean) {
    if (r.scaled) return walk_rows<V, S>(r, ScaledMean<V>());
  }
  with_operation<V, kOperation>(r.p, [&](const auto& operation) { walk_rows<V, S>(r, operation); });
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
