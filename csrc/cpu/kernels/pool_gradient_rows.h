// The gradients of means and p-norms along contiguous rows (PoolGradientRows in contracts/pools.h), in
// two steps over a group of rows that stays in L1, as in pool_rows.h:
//
//   columns   the weighted output rows whose windows hold an input row become one line, with zeros around it
//   windows   stride 1: column i takes line[i + reach - t * dilation] of each tap t, in shifted vectors
//             stride 2: even and odd columns take the even and odd taps of undilated windows, and are
//             interleaved
//
// Windows of two columns that lie side by side need no line in between: a column is its window, twice.
#pragma once

#include "cpu/contracts/pools.h"
#include "cpu/kernels/pool_gradient.h"
#include "cpu/kernels/pool_rows.h"
#include "cpu/kernels/small_counts.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

using GradientCursor = RowCursor<PoolGradientRows, PoolGradientRow>;

// put(q, sums) for vectors of windows q < r.windows of the row under the cursor, the last one laid back over
// its neighbours; a single one that is not full ends in zeros. kRows: as in Columns.
template <class V, class S, int kRows, class Gradient, class Put>
void sum_windows(const PoolGradientRows& r, const Gradient& gradient, const GradientCursor& cursor,
                 const Put& put) {
  using T = typename V::Scalar;
  constexpr int kKept = kRows ? kRows : 1;
  const PoolGradientRow& row = cursor.row();
  const S* const dy = static_cast<const S*>(r.dy) + cursor.from() + r.first_window;
  const S* const y = Gradient::kPower ? static_cast<const S*>(r.y) + cursor.from() + r.first_window : dy;
  const T* const column_weight = static_cast<const T*>(r.column_weight);
  const auto weight = [&](int64_t k) { return V::all(static_cast<T>(row.weight[k])); };
  int64_t from[kKept];
  V weights[kKept];
  for (int k = 0; k < kRows; ++k) {
    from[k] = row.from[k];
    weights[k] = weight(k);
  }
  const auto term = [&](V row_weight, int64_t at, int count) {
    const V upstream = load_some<V>(dy + at, count);
    const V norm = Gradient::kPower ? load_some<V>(y + at, count) : upstream;
    return row_weight * gradient.upstream(upstream, norm);
  };
  const auto sum = [&](int64_t q, int count) {
    V v = V::zero();
    if constexpr (kRows == 0) {
      for (int64_t k = 0; k < row.from_count; ++k) v = v + term(weight(k), row.from[k] + q, count);
    } else {
#pragma GCC unroll 4
      for (int k = 0; k < kRows; ++k) v = v + term(weights[k], from[k] + q, count);
    }
    return v * V::load(column_weight + q);
  };
  if (r.windows < V::kLanes) {
    if (r.windows > 0) put(0, sum(0, static_cast<int>(r.windows)));
  } else {
    for_each_laid_back<V>(r.windows, [&](int64_t q) { put(q, sum(q, V::kLanes)); });
  }
}

// The sums of columns `stride` apart: of line[first + i - t * distance], t < taps.
struct ShiftedTaps {
  int64_t first, taps, distance;
};
inline ShiftedTaps taps_of_columns(const PoolGradientRows& r, int64_t column) {
  const int64_t at = r.start + column, parity = at % r.stride;
  const int64_t taps = (r.kernel - parity + r.stride - 1) / r.stride;
  return {at / r.stride - r.low, taps, r.stride == 1 ? r.dilation : 1};
}
template <class V>
V sum_shifted(const typename V::Scalar* line, const ShiftedTaps& taps, int64_t i) {
  V sum = taps.taps > 0 ? V::load(line + taps.first + i) : V::zero();
  for (int64_t t = 1; t < taps.taps; ++t) sum = sum + V::load(line + taps.first + i - t * taps.distance);
  return sum;
}

// Writes `columns` of one row, and what whole vectors write beyond them, before `end`.
template <class V, class S, class Gradient>
class GradientStore {
 public:
  GradientStore(const Gradient& gradient, const S* x, S* dx, int64_t end)
      : gradient_(gradient), x_(x), dx_(dx), end_(end) {}
  void operator()(int64_t i, V sum) const {
    const int count = lanes_left<V>(i, end_);
    const V x = Gradient::kPower ? load_some<V>(x_ + i, count) : sum;
    store_some(dx_ + i, count, gradient_.downstream(sum, x));
  }

 private:
  const Gradient& gradient_;
  const S* const x_;
  S* const dx_;
  const int64_t end_;
};

// kFirst and kSecond unroll the commonest numbers of taps over the columns of either parity; -1 is any.
template <class V, int kStride, int kFirst, int kSecond, class Store>
void spread_line(const typename V::Scalar* line, ShiftedTaps first, ShiftedTaps second, int64_t columns,
                 const Store& store) {
  if (kFirst >= 0) first.taps = kFirst;
  if (kSecond >= 0) second.taps = kSecond;
  if constexpr (kStride == 1) {
    for (int64_t i = 0; i < columns; i += V::kLanes) store(i, sum_shifted<V>(line, first, i));
  } else {
    for (int64_t i = 0; 2 * i < columns; i += V::kLanes) {
      V low, high;
      interleave(sum_shifted<V>(line, first, i), sum_shifted<V>(line, second, i), &low, &high);
      store(2 * i, low);
      if (2 * i + V::kLanes < columns) store(2 * i + V::kLanes, high);
    }
  }
}
template <class V, class S, bool kCheap, class Store>
auto line_spreader(int64_t stride, int64_t first, int64_t second) {
  if (stride == 1) {
    return with_count(CountsThatPay<V, S, kCheap, 3>(), first, [&](auto taps) {
      constexpr int kTaps = taps() ? taps() : -1;
      return spread_line<V, 1, kTaps, kTaps, Store>;
    });
  }
  if constexpr (kCheap && std::is_same_v<S, typename V::Scalar>) {
    if (first == 1 && second == 1) return spread_line<V, 2, 1, 1, Store>;
    if (first == 2 && second == 1) return spread_line<V, 2, 2, 1, Store>;
    if (first == 1 && second == 2) return spread_line<V, 2, 1, 2, Store>;
  }
  return spread_line<V, 2, -1, -1, Store>;
}

template <class V, class S, template <class> class Gradient>
void pool_gradient_rows(const PoolGradientRows& r) {
  using T = typename V::Scalar;
  using Store = GradientStore<V, S, Gradient<V>>;
  using Rows = CountsThatPay<V, S, !Gradient<V>::kPower, 1, 2, 3>;
  const Gradient<V> gradient(r.p);
  T* const lines = static_cast<T*>(r.scratch);
  const int64_t pitch = r.pitch, columns = r.columns, begin = r.first_window - r.low;
  fill(lines, r.lines * pitch, T(0));
  const ShiftedTaps first = taps_of_columns(r, 0), second = taps_of_columns(r, r.stride - 1);
  const auto spread = line_spreader<V, S, !Gradient<V>::kPower, Store>(r.stride, first.taps, second.taps);
  GradientCursor reading(r, r.rows), writing(r, r.rows);
  const auto store_of = [&](const GradientCursor& row, int64_t left) {
    S* const dx = static_cast<S*>(r.dx) + row.to();
    const S* const x = Gradient<V>::kPower ? static_cast<const S*>(r.x) + row.to() : dx;
    return Store(gradient, x, dx, r.dense ? left * columns : columns);
  };
  const bool side_by_side = r.stride == 2 && first.taps == 1 && second.taps == 1 && first.first == begin &&
                            second.first == begin && 2 * r.windows == columns;
  for (int64_t left = side_by_side ? r.end - r.begin : 0; left > 0; --left, reading.advance()) {
    const Store store = store_of(reading, left);
    with_count(Rows(), reading.row().from_count, [&](auto count_of_rows) {
      sum_windows<V, S, count_of_rows()>(r, gradient, reading, [&](int64_t q, V sum) {
        V low, high;
        interleave(sum, sum, &low, &high);
        store(2 * q, low);
        if (2 * q + V::kLanes < columns) store(2 * q + V::kLanes, high);
      });
    });
  }
  if (side_by_side) return;
  for (int64_t left = r.end - r.begin; left > 0;) {
    const int64_t rows = left < r.lines ? left : r.lines;
    for (int64_t n = 0; n < rows; ++n, reading.advance())
      with_count(Rows(), reading.row().from_count, [&](auto count_of_rows) {
        T* const line = lines + n * pitch + begin;
        sum_windows<V, S, count_of_rows()>(r, gradient, reading,
                                           [&](int64_t q, V sum) { sum.store(line + q); });
      });
    for (int64_t n = 0; n < rows; ++n, --left, writing.advance())
      spread(lines + n * pitch, first, second, columns, store_of(writing, left));
  }
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
