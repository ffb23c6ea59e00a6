// The gradients of means and p-norms (contract: PoolGradientLines in kernel_table.h), as sums over the
// windows that hold an input element: nothing is added to memory that another has written, and every sum has
// its fixed order.
//
// Along rows, the weighted output rows are summed into a line, which is then spread over the input columns:
//
//   stride 1   column i takes line[i + reach - t * dilation] of each tap t, in shifted vectors
//   stride 2   even and odd columns take the even and odd taps of undilated windows, and are interleaved
//   others     neighbouring columns under the same windows are a run, which is summed once
//
// Along channels, every lane is a channel, and no windows are better than others.
#pragma once

#include "cpu/kernel_table.h"
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

// line[q], q < size, = the sum over the line's rows of window low + q's part; zero where there is no window.
template <class V, class S, class Gradient>
void sum_rows(const PoolGradientLines& r, const PoolGradientLine& from, const Gradient& gradient, int64_t low,
              int64_t size, typename V::Scalar* line) {
  using T = typename V::Scalar;
  const int64_t begin = r.first_window - low, end = begin + r.windows;
  const T* column_weight = static_cast<const T*>(r.column_weight);
  for (int64_t q = begin; q < end; q += V::kLanes) {
    const int count = lanes_left<V>(q, end);
    V sum = V::zero();
    for (int64_t k = 0; k < from.row_count; ++k) {
      const V dy = load_some<V>(static_cast<const S*>(from.dy[k]) + low + q, count);
      const V y = Gradient::kPower ? load_some<V>(static_cast<const S*>(from.y[k]) + low + q, count) : dy;
      sum = sum + V::all(static_cast<T>(from.row_weight[k])) * gradient.upstream(dy, y);
    }
    (sum * V::load_partial(column_weight + q - begin, count)).store(line + q);
  }
  for (int64_t q = 0; q < begin; ++q) line[q] = 0;
  for (int64_t q = end; q < size; ++q) line[q] = 0;
}

// sums[i] = the sum over n < taps of line[i + from - n * distance].
template <class V>
void add_shifted(const typename V::Scalar* line, int64_t from, int64_t distance, int64_t taps, int64_t count,
                 typename V::Scalar* sums) {
  for (int64_t i = 0; i < count; i += V::kLanes) {
    V sum = taps > 0 ? V::load(line + i + from) : V::zero();
    for (int64_t n = 1; n < taps; ++n) sum = sum + V::load(line + i + from - n * distance);
    sum.store(sums + i);
  }
}

template <class T>
void interleave(const T* __restrict even, const T* __restrict odd, int64_t pairs, T* __restrict to) {
  for (int64_t i = 0; i < pairs; ++i) {
    to[2 * i] = even[i];
    to[2 * i + 1] = odd[i];
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

template <class V, class S, class Gradient>
void spread_runs(const PoolGradientLines& r, const Gradient& gradient) {
  using T = typename V::Scalar;
  T* const line = static_cast<T*>(r.scratch);
  for (const PoolGradientLine* to = r.lines; to < r.lines + r.line_count; ++to) {
    sum_rows<V, S>(r, *to, gradient, r.first_window, r.windows, line);
    const ReaderRun* run = r.runs;
    for (int64_t column = 0; column < r.columns; column += run->columns, ++run) {
      const T* windows = line + run->readers.first - r.first_window;
      T sum = 0;
      for (int64_t n = 0; n < run->readers.count; ++n) sum += windows[n * r.step];
      store_run<V, S>(*to, gradient, V::all(sum), column, column + run->columns, r.columns);
    }
  }
}

// The sums of each line's columns, `pitch` apart. Lines follow each other at whole windows' distance, so that
// shifted vectors run through all of them; what lies between them is of no use.
template <class T>
struct LineSums {
  const T* sums;
  int64_t pitch;
};

template <class V, class S, class Gradient>
LineSums<typename V::Scalar> sum_readers(const PoolGradientLines& r, const Gradient& gradient) {
  using T = typename V::Scalar;
  constexpr int64_t kSlack = 16;  // that vectors may read and write beyond
  const int64_t odd_start = r.stride == 2 ? r.start % 2 : 0;
  const int64_t reach = r.stride == 2 ? (r.kernel - 1) / 2 : (r.kernel - 1) * r.dilation;
  const int64_t low = r.start / r.stride - reach;
  const int64_t size = (r.columns + odd_start + r.stride - 1) / r.stride + reach;
  const int64_t all = r.line_count * size, count = all - reach;
  T* line = static_cast<T*>(r.scratch);
  for (int64_t i = 0; i < r.line_count; ++i)
    sum_rows<V, S>(r, r.lines[i], gradient, low, size, line + i * size);
  T* const sums = line + all + kSlack;
  if (r.stride == 1) {
    add_shifted<V>(line, reach, r.dilation, r.kernel, count, sums);
    return {sums, size};
  }
  T* const odd = sums + all + kSlack;
  T* const both = odd + all + kSlack;
  add_shifted<V>(line, reach, 1, (r.kernel + 1) / 2, count, sums);
  add_shifted<V>(line, reach, 1, r.kernel / 2, count, odd);
  interleave(sums, odd, count, both);
  return {both + odd_start, 2 * size};
}

template <class V, class S, template <class> class Gradient>
void pool_gradient_row(const PoolGradientLines& r) {
  const Gradient<V> gradient(r.p);
  if (r.stride == 0) return spread_runs<V, S>(r, gradient);
  LineSums<typename V::Scalar> from = sum_readers<V, S>(r, gradient);
  for (int64_t n = 0; n < r.line_count; ++n, from.sums += from.pitch) {
    const PoolGradientLine& to = r.lines[n];
    const int64_t end = writable<S>(r.lines, r.line_count, n, r.columns, &PoolGradientLine::dx);
    for (int64_t i = 0; i < r.columns; i += V::kLanes) {
      const int count = lanes_left<V>(i, end);
      const V sum = V::load(from.sums + i);
      const V x = Gradient<V>::kPower ? load_some<V>(static_cast<const S*>(to.x) + i, count) : sum;
      store_some(static_cast<S*>(to.dx) + i, count, gradient.downstream(sum, x));
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
