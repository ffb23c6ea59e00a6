// The gradients of means and p-norms (PoolGradientLines in contracts/pools.h), as sums over the
// windows that hold an input element: nothing is added to memory that another has written, and every sum has
// its fixed order.
//
// Along rows, the weighted output rows are summed into a line, which is then spread over the input columns:
// strides of 1 and 2 in pool_gradient_rows.h; else neighbouring columns under the same windows are a run,
// which is summed once. Along channels, every lane is a channel, and no windows are better than others.
#pragma once

#include "cpu/contracts/pools.h"
#include "cpu/kernels/pool_operations.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

// What an output element gives to, and what an input element makes of, the sum between them.
template <class V>
struct MeanGradient {
  static constexpr bool kPower = false;
  explicit MeanGradient(double) {}
  V upstream(V dy, V) const { return dy; }
  V downstream(V sum, V) const { return sum; }
};

template <class V>
struct PowerGradient {
  static constexpr bool kPower = true;
  Exponent<V> power;
  explicit PowerGradient(double p) : power(p - 1) {}
  V upstream(V dy, V y) const { return select(y == V::zero(), V::zero(), dy / power(y)); }
  V downstream(V sum, V x) const {
    return select(x == V::zero(), V::zero(), sum * copysign(power(abs(x)), x));
  }
};

// line[q], q < count: the sum over a line's rows of window first + q's part.
template <class V, class S, class Gradient>
void sum_rows(const PoolGradientLine& from, const Gradient& gradient, int64_t first, int64_t count,
              const typename V::Scalar* column_weight, typename V::Scalar* line) {
  using T = typename V::Scalar;
  for (int64_t q = 0; q < count; q += V::kLanes) {
    const int lanes = lanes_left<V>(q, count);
    V sum = V::zero();
    for (int64_t k = 0; k < from.row_count; ++k) {
      const V dy = load_some<V>(static_cast<const S*>(from.dy[k]) + first + q, lanes);
      const V y = Gradient::kPower ? load_some<V>(static_cast<const S*>(from.y[k]) + first + q, lanes) : dy;
      sum = sum + V::all(static_cast<T>(from.row_weight[k])) * gradient.upstream(dy, y);
    }
    (sum * V::load_partial(column_weight + q, lanes)).store(line + q);
  }
}

// Columns [begin, end) of a line that all have one sum; vectors may write on until `writable_end`.
template <class V, class S, class Gradient>
void store_run(const PoolGradientLine& to, const Gradient& gradient, V sum, int64_t begin, int64_t end,
               int64_t writable_end) {
  for (int64_t i = begin; i < end; i += V::kLanes) {
    const int count = lanes_left<V>(i, writable_end);
    const V x = Gradient::kPower ? load_some<V>(static_cast<const S*>(to.x) + i, count) : sum;
    store_some(static_cast<S*>(to.dx) + i, count, gradient.downstream(sum, x));
  }
}

template <class V, class S, template <class> class Gradient>
void pool_gradient_runs(const PoolGradientLines& r) {
  using T = typename V::Scalar;
  const Gradient<V> gradient(r.p);
  T* const line = static_cast<T*>(r.scratch);
  for (const PoolGradientLine* to = r.lines; to < r.lines + r.line_count; ++to) {
    sum_rows<V, S>(*to, gradient, r.first_window, r.windows, static_cast<const T*>(r.column_weight), line);
    const ReaderRun* run = r.runs;
    for (int64_t column = 0; column < r.columns; column += run->columns, ++run) {
      const T* windows = line + run->readers.first - r.first_window;
      T sum = 0;
      for (int64_t n = 0; n < run->readers.count; ++n) sum += windows[n * r.step];
      store_run<V, S>(*to, gradient, V::all(sum), column, column + run->columns, r.columns);
    }
  }
}

// Lanes [channel, channel + kVectors * kLanes) of all columns of a run, or, with kPart, the first `count` of
// one vector.
template <class V, class S, int kVectors, bool kPart, class Gradient>
void spread_run(const PoolGradientLines& r, const PoolGradientLine& line, const Gradient& gradient,
                const ReaderRun& run, int64_t column, int64_t channel, int count) {
  using T = typename V::Scalar;
  const T* column_weight = static_cast<const T*>(r.column_weight);
  const auto load = [&](const void* row, int64_t at, int i) {
    const S* p = static_cast<const S*>(row) + at + channel;
    return kPart ? load_partial_as(p, count, V{}) : load_as(p + i * V::kLanes, V{});
  };
  V sum[kVectors];
  for (V& v : sum) v = V::zero();
  for (int64_t k = 0; k < line.row_count; ++k) {
    const T row_weight = static_cast<T>(line.row_weight[k]);
    for (int64_t n = 0, o = run.readers.first; n < run.readers.count; ++n, o += r.step) {
      const V weight = V::all(row_weight * column_weight[o - r.first_window]);
#pragma GCC unroll 4
      for (int i = 0; i < kVectors; ++i) {
        const V dy = load(line.dy[k], o * r.dy_pitch, i);
        const V y = Gradient::kPower ? load(line.y[k], o * r.dy_pitch, i) : dy;
        sum[i] = sum[i] + weight * gradient.upstream(dy, y);
      }
    }
  }
  for (int64_t j = column; j < column + run.columns; ++j) {
    S* dx = static_cast<S*>(line.dx) + j * r.dx_pitch + channel;
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) {
      const V v = gradient.downstream(sum[i], Gradient::kPower ? load(line.x, j * r.dx_pitch, i) : sum[i]);
      if (kPart) {
        store_partial_as(dx, count, v);
      } else {
        store_as(dx + i * V::kLanes, v);
      }
    }
  }
}

template <class V, class S, template <class> class Gradient>
void pool_gradient_lanes(const PoolGradientLines& r) {
  constexpr int kLanes = V::kLanes, kMost = 4;
  const Gradient<V> gradient(r.p);
  for (const PoolGradientLine* line = r.lines; line < r.lines + r.line_count; ++line) {
    const ReaderRun* run = r.runs;
    for (int64_t i = 0; i < r.columns; i += run->columns, ++run) {
      int64_t c = 0;
      for (; c + kMost * kLanes <= r.channels; c += kMost * kLanes) {
        spread_run<V, S, kMost, false>(r, *line, gradient, *run, i, c, kLanes);
      }
      for (; c + 2 * kLanes <= r.channels; c += 2 * kLanes)
        spread_run<V, S, 2, false>(r, *line, gradient, *run, i, c, kLanes);
      for (; c + kLanes <= r.channels; c += kLanes)
        spread_run<V, S, 1, false>(r, *line, gradient, *run, i, c, kLanes);
      if (c < r.channels)
        spread_run<V, S, 1, true>(r, *line, gradient, *run, i, c, lanes_left<V>(c, r.channels));
    }
  }
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
