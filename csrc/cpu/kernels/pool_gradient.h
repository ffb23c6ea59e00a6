// The gradients of means and p-norms (contract: PoolGradientRow in kernel_table.h), as sums over the windows
// that hold an input element: nothing is added to memory that another has written, and every sum has its
// fixed order.
//
// Along rows, the weighted output rows are summed into one line, which is then spread over the input columns:
//
//   stride 1   column i takes line[i + reach - t * dilation] of each tap t: shifted vectors
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

template <class V, class S>
V load_some(const S* p, int count) {
  return count == V::kLanes ? load_as(p, V{}) : load_partial_as(p, count, V{});
}
template <class V, class S>
void store_some(S* p, int count, V v) {
  if (count == V::kLanes) {
    store_as(p, v);
  } else {
    store_partial_as(p, count, v);
  }
}
template <class V>
int lanes_left(int64_t done, int64_t all) {
  return all - done < V::kLanes ? static_cast<int>(all - done) : V::kLanes;
}

// line[o - low] = the sum over rows of window o's part, zero where there is no window, for `size` windows
// from `low` on.
template <class V, class S, class Gradient>
void sum_rows(const PoolGradientRow& r, const Gradient& gradient, int64_t low, int64_t size,
              typename V::Scalar* line) {
  using T = typename V::Scalar;
  const int64_t begin = r.first_window - low, end = begin + r.windows;
  const T* column_weight = static_cast<const T*>(r.column_weight);
  for (int64_t q = begin; q < end; q += V::kLanes) {
    const int count = lanes_left<V>(q, end);
    const int64_t o = low + q;
    V sum = V::zero();
    for (int64_t k = 0; k < r.row_count; ++k) {
      const V dy = load_some<V>(static_cast<const S*>(r.dy[k]) + o, count);
      const V y = Gradient::kPower ? load_some<V>(static_cast<const S*>(r.y[k]) + o, count) : dy;
      sum = sum + V::all(static_cast<T>(r.row_weight[k])) * gradient.upstream(dy, y);
    }
    (sum * V::load_partial(column_weight + q - begin, count)).store(line + q);
  }
  for (int64_t q = 0; q < begin; ++q) line[q] = 0;
  for (int64_t q = end; q < size; ++q) line[q] = 0;
}

// sums[i] = the sum over taps t0, t0 + t_step, ... of line[i + from - n * distance], n counting those taps.
template <class V>
void add_shifted(const typename V::Scalar* line, int64_t from, int64_t distance, int64_t taps,
                 int64_t columns, typename V::Scalar* sums) {
  for (int64_t i = 0; i < columns; i += V::kLanes) {
    V sum = V::zero();
    for (int64_t n = 0; n < taps; ++n) sum = sum + V::load(line + i + from - n * distance);
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

template <class T>
void add_runs(const PoolGradientRow& r, const T* line, T* sums) {
  const T* const end = sums + r.columns;
  for (const ReaderRun* run = r.runs; sums < end; ++run) {
    T sum = 0;
    for (int64_t n = 0; n < run->readers.count; ++n)
      sum += line[run->readers.first - r.first_window + n * r.step];
    for (int64_t i = 0; i < run->columns; ++i) sums[i] = sum;
    sums += run->columns;
  }
}

// Returns the sums of the row's columns, in scratch: gradient_scratch() of the driver.
template <class V, class S, class Gradient>
typename V::Scalar* sum_readers(const PoolGradientRow& r, const Gradient& gradient) {
  using T = typename V::Scalar;
  constexpr int64_t kSlack = V::kLanes;
  T* line = static_cast<T*>(r.scratch);
  if (r.stride == 1) {
    const int64_t reach = (r.kernel - 1) * r.dilation, size = r.columns + reach + kSlack;
    sum_rows<V, S>(r, gradient, r.start - reach, size, line);
    T* sums = line + size;
    add_shifted<V>(line, reach, r.dilation, r.kernel, r.columns, sums);
    return sums;
  }
  if (r.stride == 2) {
    const int64_t reach = (r.kernel - 1) / 2, odd_start = r.start % 2,
                  pairs = (r.columns + odd_start + 1) / 2;
    const int64_t size = pairs + reach + kSlack;
    sum_rows<V, S>(r, gradient, r.start / 2 - reach, size, line);
    T* even = line + size;
    T* odd = even + pairs + kSlack;
    T* sums = odd + pairs + kSlack;
    add_shifted<V>(line, reach, 1, (r.kernel + 1) / 2, pairs, even);
    add_shifted<V>(line, reach, 1, r.kernel / 2, pairs, odd);
    interleave(even, odd, pairs, sums);
    return sums + odd_start;
  }
  const int64_t size = r.windows + kSlack;
  sum_rows<V, S>(r, gradient, r.first_window, size, line);
  add_runs(r, line, line + size);
  return line + size;
}

template <class V, class S, template <class> class Gradient>
void pool_gradient_row(const PoolGradientRow& r) {
  const Gradient<V> gradient(r.p);
  const typename V::Scalar* sums = sum_readers<V, S>(r, gradient);
  S* dx = static_cast<S*>(r.dx);
  for (int64_t i = 0; i < r.columns; i += V::kLanes) {
    const int count = lanes_left<V>(i, r.columns);
    const V sum = V::load_partial(sums + i, count);
    const V x = Gradient<V>::kPower ? load_some<V>(static_cast<const S*>(r.x) + i, count) : sum;
    store_some(dx + i, count, gradient.downstream(sum, x));
  }
}

// Lanes [channel, channel + count) of all columns of a run.
template <class V, class S, class Gradient>
void spread_run(const PoolGradientRow& r, const Gradient& gradient, const ReaderRun& run, int64_t column,
                int64_t channel, int count) {
  using T = typename V::Scalar;
  const T* column_weight = static_cast<const T*>(r.column_weight);
  V sum = V::zero();
  for (int64_t k = 0; k < r.row_count; ++k) {
    const T row_weight = static_cast<T>(r.row_weight[k]);
    for (int64_t n = 0, o = run.readers.first; n < run.readers.count; ++n, o += r.step) {
      const int64_t at = o * r.dy_pitch + channel;
      const V dy = load_some<V>(static_cast<const S*>(r.dy[k]) + at, count);
      const V y = Gradient::kPower ? load_some<V>(static_cast<const S*>(r.y[k]) + at, count) : dy;
      sum = sum + V::all(row_weight * column_weight[o - r.first_window]) * gradient.upstream(dy, y);
    }
  }
  for (int64_t i = column; i < column + run.columns; ++i) {
    const int64_t at = i * r.dx_pitch + channel;
    const V x = Gradient::kPower ? load_some<V>(static_cast<const S*>(r.x) + at, count) : sum;
    store_some(static_cast<S*>(r.dx) + at, count, gradient.downstream(sum, x));
  }
}

template <class V, class S, template <class> class Gradient>
void pool_gradient_lanes(const PoolGradientRow& r) {
  const Gradient<V> gradient(r.p);
  const ReaderRun* run = r.runs;
  for (int64_t i = 0; i < r.columns; i += run->columns, ++run) {
    int64_t c = 0;
    for (; c + V::kLanes <= r.channels; c += V::kLanes) spread_run<V, S>(r, gradient, *run, i, c, V::kLanes);
    if (c < r.channels) spread_run<V, S>(r, gradient, *run, i, c, static_cast<int>(r.channels - c));
  }
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
