// The gradients of means and p-norms along contiguous rows (contract: PoolGradientRows in kernel_table.h), in two
// steps over a group of rows that stays in L1, as in pool_rows.h:
//
//   columns   the weighted output rows whose windows hold an input row become one line, with zeros around it
//   windows   stride 1: column i takes line[i + reach - t * dilation] of each tap t, in shifted vectors
//             stride 2: even and odd columns take the even and odd taps of undilated windows, and are interleaved
#pragma once

#include "cpu/kernel_table.h"
#include "cpu/kernels/pool_gradient.h"
#include "cpu/kernels/pool_rows.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

using GradientCursor = RowCursor<PoolGradientRows, PoolGradientRow>;

// line[q], q < r.windows, of the row under the cursor; zeros up to a whole vector.
template <class V, class S, class Gradient>
void sum_windows(const PoolGradientRows& r, const Gradient& gradient, const GradientCursor& cursor,
                 typename V::Scalar* line) {
  using T = typename V::Scalar;
  const PoolGradientRow& row = cursor.row();
  const S* const dy = static_cast<const S*>(r.dy) + cursor.from() + r.first_window;
  const S* const y = Gradient::kPower ? static_cast<const S*>(r.y) + cursor.from() + r.first_window : dy;
  const T* const column_weight = static_cast<const T*>(r.column_weight);
  const int64_t* const from = row.from;
  const double* const weight = row.weight;
  const int64_t rows = row.from_count;
  const auto sum = [&](int64_t q, int count) {
    V v = V::zero();
    for (int64_t k = 0; k < rows; ++k) {
      const V upstream = load_some<V>(dy + from[k] + q, count);
      const V norm = Gradient::kPower ? load_some<V>(y + from[k] + q, count) : upstream;
      v = v + V::all(static_cast<T>(weight[k])) * gradient.upstream(upstream, norm);
    }
    return v * V::load(column_weight + q);
  };
  if (r.windows < V::kLanes) {
    if (r.windows > 0) sum(0, static_cast<int>(r.windows)).store(line);
  } else {
    for_each_laid_back<V>(r.windows, [&](int64_t q) { sum(q, V::kLanes).store(line + q); });
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

template <class V, class S, template <class> class Gradient>
void pool_gradient_rows(const PoolGradientRows& r) {
  using T = typename V::Scalar;
  constexpr int kLanes = V::kLanes;
  const Gradient<V> gradient(r.p);
  T* const lines = static_cast<T*>(r.scratch);
  const int64_t pitch = r.pitch, columns = r.columns, begin = r.first_window - r.low;
  fill(lines, r.lines * pitch, T(0));
  const ShiftedTaps first = taps_of_columns(r, 0), second = taps_of_columns(r, r.stride - 1);
  GradientCursor reading(r, r.rows), writing(r, r.rows);
  for (int64_t left = r.end - r.begin; left > 0;) {
    const int64_t rows = left < r.lines ? left : r.lines;
    for (int64_t n = 0; n < rows; ++n, reading.advance())
      sum_windows<V, S>(r, gradient, reading, lines + n * pitch + begin);
    const T* line = lines;
    for (int64_t n = 0; n < rows; ++n, --left, line += pitch, writing.advance()) {
      S* const dx = static_cast<S*>(r.dx) + writing.to();
      const S* const x = Gradient<V>::kPower ? static_cast<const S*>(r.x) + writing.to() : dx;
      const int64_t end = r.dense ? left * columns : columns;
      const auto store = [&](int64_t i, V sum) {
        if (i >= end) return;
        const int count = lanes_left<V>(i, end);
        const V at = Gradient<V>::kPower ? load_some<V>(x + i, count) : sum;
        store_some(dx + i, count, gradient.downstream(sum, at));
      };
      if (r.stride == 1) {
        for (int64_t i = 0; i < columns; i += kLanes) store(i, sum_shifted<V>(line, first, i));
      } else {
        for (int64_t i = 0; 2 * i < columns; i += kLanes) {
          V low, high;
          interleave(sum_shifted<V>(line, first, i), sum_shifted<V>(line, second, i), &low, &high);
          store(2 * i, low);
          if (2 * i + kLanes < columns) store(2 * i + kLanes, high);
        }
      }
    }
  }
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
