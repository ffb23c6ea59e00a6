// Sliding windows along a contiguous row (contract: PoolRow in kernel_table.h), in three steps that stay in
// L1:
//
//   the rows are combined into one line, with as much padding around it as the windows reach into
//   line         . . a b c d e f g . .        position q of the line is input column start + q
//   the line is dealt out by its stride, so that what lies under one tap of neighbouring windows is
//   contiguous stride 2     . a c e g .    . b d f .     tap t is at position t*step / stride of deal t*step
//   % stride the taps are combined, finished and stored
//
// Scratch, in elements of the compute type: sliding_scratch() of the driver.
#pragma once

#include "cpu/kernel_table.h"
#include "cpu/kernels/pool_operations.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

// Read beyond the last position of a line or of a deal, to no effect.
template <class V>
constexpr int kSlack = V::kLanes < 4 ? 4 : V::kLanes;

// Line positions [begin, end): each row of the windows added in turn. kRows unrolls the commonest heights; 0
// is any.
template <class V, class S, int kRows, class Operation>
void combine_rows(const PoolRow& r, const Operation& operation, int64_t begin, int64_t end,
                  typename V::Scalar* line, typename V::Scalar* numbers) {
  const int64_t rows = kRows ? kRows : r.row_count;
  const auto combine = [&](int64_t q, const auto& load) {
    auto state = operation.start();
#pragma GCC unroll 4
    for (int64_t k = 0; k < rows; ++k)
      operation.add(state, load(static_cast<const S*>(r.rows[k]) + r.start + q), k);
    operation.value(state).store(line + q);
    if constexpr (Operation::kNumbers) state.number.store(numbers + q);
  };
  int64_t q = begin;
  for (; q + V::kLanes <= end; q += V::kLanes) combine(q, [](const S* p) { return load_as(p, V{}); });
  const int rest = static_cast<int>(end - q);
  if (rest > 0) combine(q, [rest](const S* p) { return load_partial_as(p, rest, V{}); });
}

template <class T>
void fill(T* p, int64_t count, T value) {
  for (int64_t i = 0; i < count; ++i) p[i] = value;
}

// The line of a row of windows: `span` positions and kSlack more.
template <class V, class S, class Operation>
void make_line(const PoolRow& r, const Operation& operation, int64_t span, typename V::Scalar* line,
               typename V::Scalar* numbers) {
  int64_t begin = r.start < 0 ? -r.start : 0, end = r.input - r.start < span ? r.input - r.start : span;
  if (begin > span) begin = span;
  if (end < begin) end = begin;
  switch (r.row_count) {
    case 1:
      combine_rows<V, S, 1>(r, operation, begin, end, line, numbers);
      break;
    case 2:
      combine_rows<V, S, 2>(r, operation, begin, end, line, numbers);
      break;
    case 3:
      combine_rows<V, S, 3>(r, operation, begin, end, line, numbers);
      break;
    default:
      combine_rows<V, S, 0>(r, operation, begin, end, line, numbers);
      break;
  }
  typename V::Scalar outside[V::kLanes];
  operation.value(operation.start()).store(outside);
  const int64_t after = span + kSlack<V> - end;
  fill(line, begin, outside[0]);
  fill(line + end, after, outside[0]);
  if constexpr (Operation::kNumbers) {
    operation.start().number.store(outside);
    fill(numbers, begin, outside[0]);
    fill(numbers + end, after, outside[0]);
  }
}

template <int kStride, class T>
void deal_all(const T* __restrict line, int64_t count, int64_t pitch, T* __restrict dealt) {
  for (int64_t i = 0; i < count; ++i) {
#pragma GCC unroll 4
    for (int phase = 0; phase < kStride; ++phase) dealt[phase * pitch + i] = line[kStride * i + phase];
  }
}

// dealt[phase][i] = line[i * stride + phase]. Each deal is `pitch` long; those that no tap asks for may be
// left out.
template <class T>
void deal(const T* line, int64_t span, int64_t stride, int64_t deals, int64_t pitch, T* dealt) {
  const int64_t count = (span + stride - 1) / stride;
  if (stride == 2) return deal_all<2>(line, count, pitch, dealt);
  if (stride == 3) return deal_all<3>(line, count, pitch, dealt);
  if (stride == 4) return deal_all<4>(line, count, pitch, dealt);
  for (int64_t phase = 0; phase < deals; ++phase, dealt += pitch)
    for (int64_t i = 0, q = phase; q < span; ++i, q += stride) dealt[i] = line[q];
}

template <class V, int kTaps, class Operation>
V combine_taps(const PoolRow& r, const Operation& operation, const int64_t* offset,
               const typename V::Scalar* line, int64_t column) {
  const int64_t taps = kTaps ? kTaps : r.kernel;
  V v = V::load(line + offset[0] + column);
#pragma GCC unroll 4
  for (int64_t t = 1; t < taps; ++t) v = operation.merge(v, V::load(line + offset[t] + column));
  return v;
}

// Among columns that tie, the one whose maximum lies in the earlier row wins, then the earlier column.
template <class V>
V combine_numbered_taps(const PoolRow& r, const int64_t* offset, const typename V::Scalar* line,
                        const typename V::Scalar* numbers, int64_t column) {
  V v = V::load(line + offset[0] + column), row = V::load(numbers + offset[0] + column),
    tap = all_numbered<V>(0);
  for (int64_t t = 1; t < r.kernel; ++t) {
    const V x = V::load(line + offset[t] + column), x_row = V::load(numbers + offset[t] + column);
    const auto ties = (x == v) | (is_nan(x) & is_nan(v));
    const auto wins = beats(x, v) | (ties & (x_row < row));
    v = select(wins, x, v);
    row = select(wins, x_row, row);
    tap = select(wins, all_numbered<V>(t), tap);
  }
  typename V::Scalar rows[V::kLanes], taps[V::kLanes];
  row.store(rows);
  tap.store(taps);
  const int64_t rest = r.columns - column, count = rest < V::kLanes ? rest : V::kLanes;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t o = column + i;
    int64_t at = r.start + o * r.stride + number_of_lane(taps[i]) * r.step;
    if (at < 0) at = r.taps[o].first;  // padding ties with -Inf, but never wins
    const bool empty = r.row_count == 0 || r.taps[o].count == 0;
    r.indices[o] = empty ? -1 : r.row_position[number_of_lane(rows[i])] + at;
  }
  return v;
}

template <class V, class S, class Operation>
void slide(const PoolRow& r, const Operation& operation) {
  using T = typename V::Scalar;
  const int64_t reach = (r.kernel - 1) * r.step, span = (r.columns - 1) * r.stride + reach + 1;
  const int64_t line_size = span + kSlack<V>;
  // Of small strides all deals are made.
  const int64_t deals = r.stride <= reach || r.stride <= 4 ? r.stride : reach + 1,
                pitch = span / r.stride + 1 + kSlack<V>;
  int64_t* offset = static_cast<int64_t*>(r.scratch);
  T* line = reinterpret_cast<T*>(offset + r.kernel);
  T* numbers = line + line_size;
  T* dealt = numbers + (Operation::kNumbers ? line_size : 0);
  T* dealt_numbers = dealt + deals * pitch;
  make_line<V, S>(r, operation, span, line, numbers);
  for (int64_t t = 0, phase = 0, shift = 0; t < r.kernel; ++t, phase += r.step) {
    for (; phase >= r.stride; phase -= r.stride) ++shift;
    offset[t] = phase * pitch + shift;
  }
  if (r.stride > 1) {
    deal(line, span, r.stride, deals, pitch, dealt);
    if constexpr (Operation::kNumbers) deal(numbers, span, r.stride, deals, pitch, dealt_numbers);
    line = dealt;
    numbers = dealt_numbers;
  }
  S* y = static_cast<S*>(r.y);
  for (int64_t o = 0; o < r.columns; o += V::kLanes) {
    const int count = r.columns - o < V::kLanes ? static_cast<int>(r.columns - o) : V::kLanes;
    V v;
    if constexpr (Operation::kNumbers) {
      v = combine_numbered_taps<V>(r, offset, line, numbers, o);
    } else {
      v = r.kernel == 2   ? combine_taps<V, 2>(r, operation, offset, line, o)
          : r.kernel == 3 ? combine_taps<V, 3>(r, operation, offset, line, o)
                          : combine_taps<V, 0>(r, operation, offset, line, o);
    }
    v = operation.finish(v, divisors<V>(r, o, count));
    if (count == V::kLanes) {
      store_as(y + o, v);
    } else {
      store_partial_as(y + o, count, v);
    }
  }
}

template <class V, class S, PoolOperation kOperation>
void pool_sliding(const PoolRow& r) {
  with_operation<V, kOperation>(r, [&](const auto& operation) { slide<V, S>(r, operation); });
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
