// Sliding windows along contiguous rows (PoolLines in contracts/pools.h), in steps that stay in L1:
//
//   combine   the rows of each line become one, with as much padding around it as the windows reach into;
//             lines follow each other at whole windows' distance: one long line to the next steps.
//             Stride 2, kernel 3, padding 2:
//             . . a b c d e f g .  . . h i j k l m n .
//   deal      by the stride, so that what lies under one tap of neighbouring windows is contiguous
//             . a c e g  . h j l n  and  . b d f .  . i k m .
//   slide     tap by tap: tap t is at position t * step / stride of deal t * step % stride
//   store     finished, without what lies between the lines
//
// Scratch: sliding_scratch() of the driver.
#pragma once

#include "cpu/contracts/pools.h"
#include "cpu/kernels/pool_operations.h"
#include "cpu/kernels/small_counts.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

// Elements beyond the end of a line that vectors may read, to no effect.
constexpr int kSlack = 16;

// Positions [begin, end) of a line: each row added in turn; with kRows == 0 any number of them.
template <class V, class S, int kRows, class Operation>
void combine_rows(const PoolLine& line, const Operation& operation, int64_t start, int64_t begin, int64_t end,
                  typename V::Scalar* values, typename V::Scalar* numbers) {
  const int64_t rows = kRows ? kRows : line.row_count;
  const S* row[kRows ? kRows : 1];
  for (int k = 0; k < kRows; ++k) row[k] = static_cast<const S*>(line.rows[k]) + start;
  const auto combine = [&](int64_t q, const auto& load) {
    auto state = operation.start();
    if constexpr (kRows != 0) {
#pragma GCC unroll 4
      for (int k = 0; k < kRows; ++k) operation.add(state, load(row[k] + q), k);
    } else {
      for (int64_t k = 0; k < rows; ++k)
        operation.add(state, load(static_cast<const S*>(line.rows[k]) + start + q), k);
    }
    operation.value(state).store(values + q);
    if constexpr (Operation::kNumbers) state.number.store(numbers + q);
  };
  int64_t q = begin;
  for (; q + V::kLanes <= end; q += V::kLanes) combine(q, [](const S* p) { return load_as(p, V{}); });
  const int rest = static_cast<int>(end - q);
  if (rest > 0) combine(q, [rest](const S* p) { return load_partial_as(p, rest, V{}); });
}

// Writes up to a vector beyond.
template <class V, class S, class Operation>
void make_line(const PoolLines& r, const PoolLine& line, const Operation& operation, LineSpan span,
               int64_t size, typename V::Scalar* values, typename V::Scalar* numbers) {
  const int64_t begin = span.begin, end = span.end;
  with_count(CountsThatPay<V, S, Operation::kNumbers, 2, 3>(), line.row_count, [&](auto rows) {
    combine_rows<V, S, rows()>(line, operation, r.start, begin, end, values, numbers);
  });
  typename V::Scalar outside[V::kLanes];
  operation.value(operation.start()).store(outside);
  fill(values, begin, outside[0]);
  fill(values + end, size - end, outside[0]);
  if constexpr (Operation::kNumbers) {
    operation.start().number.store(outside);
    fill(numbers, begin, outside[0]);
    fill(numbers + end, size - end, outside[0]);
  }
}

// A line that is an input row as it lies in memory, or null.
template <class T, class S, class Operation>
const T* ready_line(const PoolLines& r, const PoolLine& line, const Operation&, LineSpan span, int64_t size) {
  if constexpr (Operation::kPlain && std::is_same_v<S, T>) {
    if (line.row_count == 1 && span.begin == 0 && span.end == size)
      return static_cast<const T*>(line.rows[0]) + r.start;
  }
  return nullptr;
}

template <int kStride, class T>
void deal_all(const T* __restrict line, int64_t count, int64_t pitch, T* __restrict dealt) {
  for (int64_t i = 0; i < count; ++i) {
#pragma GCC unroll 4
    for (int phase = 0; phase < kStride; ++phase) dealt[phase * pitch + i] = line[kStride * i + phase];
  }
}

// dealt[phase][i] = line[i * stride + phase], i < count; deals that no tap asks for may be left out.
template <class T>
void deal(const T* line, int64_t count, int64_t stride, int64_t deals, int64_t pitch, T* dealt) {
  if (stride == 2) return deal_all<2>(line, count, pitch, dealt);
  if (stride == 3) return deal_all<3>(line, count, pitch, dealt);
  if (stride == 4) return deal_all<4>(line, count, pitch, dealt);
  for (int64_t phase = 0; phase < deals; ++phase, dealt += pitch)
    for (int64_t i = 0; i < count; ++i) dealt[i] = line[i * stride + phase];
}

// take(o, v) gets the combined taps v of windows o and on, for all o < count.
template <class V, class Operation, class Take>
void slide(const Operation& operation, int64_t taps, const int64_t* offset, const typename V::Scalar* line,
           int64_t count, const Take& take) {
  for (int64_t o = 0; o < count; o += V::kLanes) {
    V v = V::load(line + offset[0] + o);
    for (int64_t t = 1; t < taps; ++t) v = operation.merge(v, V::load(line + offset[t] + o));
    take(o, v);
  }
}

// The same with the rows and taps of the maxima. Among columns that tie, the one whose maximum lies in the
// earlier row wins, then the earlier column.
template <class V>
void slide_numbered(int64_t kernel, const int64_t* offset, const typename V::Scalar* line,
                    const typename V::Scalar* line_rows, int64_t count, typename V::Scalar* values,
                    typename V::Scalar* rows, typename V::Scalar* taps) {
  for (int64_t o = 0; o < count; o += V::kLanes) {
    V v = V::load(line + offset[0] + o), row = V::load(line_rows + offset[0] + o), tap = all_numbered<V>(0);
    for (int64_t t = 1; t < kernel; ++t) {
      const V x = V::load(line + offset[t] + o), x_row = V::load(line_rows + offset[t] + o);
      const auto ties = (x == v) | (is_nan(x) & is_nan(v));
      const auto wins = beats(x, v) | (ties & (x_row < row));
      v = select(wins, x, v);
      row = select(wins, x_row, row);
      tap = select(wins, all_numbered<V>(t), tap);
    }
    v.store(values + o);
    row.store(rows + o);
    tap.store(taps + o);
  }
}

template <class T>
void store_positions(const PoolLines& r, const PoolLine& line, const T* rows, const T* taps) {
  for (int64_t o = 0; o < r.columns; ++o) {
    const int64_t start = r.start + o * r.stride;
    int64_t at = start + number_of_lane(taps[o]) * r.step;
    bool empty = line.row_count == 0;
    if (at < 0) {  // padding ties with -Inf, but never wins: the first element does, where there is one
      const int64_t outside = (r.step - 1 - start) / r.step;
      at = start + outside * r.step;
      empty = empty || outside >= r.kernel || at >= r.input;
    }
    line.indices[o] = empty ? -1 : line.row_number[number_of_lane(rows[o])] + at;
  }
}

template <class V, class S, class Operation>
void slide_lines(const PoolLines& r, const Operation& operation) {
  using T = typename V::Scalar;
  constexpr int kStreams = Operation::kNumbers ? 2 : 1;  // values, and the rows they came from
  const int64_t reach = (r.kernel - 1) * r.step, shifts = reach / r.stride;
  const int64_t windows = r.columns + shifts;  // of a line, with those that end in the next one
  const int64_t size = windows * r.stride, count = r.line_count * windows, ending = count - shifts;
  // Of small strides all deals are made.
  const int64_t deals = r.stride <= reach || r.stride <= 4 ? r.stride : reach + 1;
  const int64_t line_pitch = r.line_count * size + kSlack, pitch = count + kSlack;
  const LineSpan span = inside(r.start, r.input, size);
  int64_t* offset = static_cast<int64_t*>(r.scratch);
  T* const lines = reinterpret_cast<T*>(offset + r.kernel);
  T* const dealt = lines + kStreams * line_pitch;
  T* const values = r.stride == 1 ? dealt : dealt + kStreams * deals * pitch;
  for (int64_t t = 0, phase = 0, shift = 0; t < r.kernel; ++t, phase += r.step) {
    for (; phase >= r.stride; phase -= r.stride) ++shift;
    offset[t] = phase * pitch + shift;
  }
  for (int64_t i = 0; i < r.line_count; ++i) {
    T* const line = lines + i * size;
    const T* const ready = r.stride > 1 ? ready_line<T, S>(r, r.lines[i], operation, span, size) : nullptr;
    if (!ready) make_line<V, S>(r, r.lines[i], operation, span, size, line, line + line_pitch);
    if (r.stride == 1) continue;
    deal(ready ? ready : line, windows, r.stride, deals, pitch, dealt + i * windows);
    if constexpr (Operation::kNumbers) {
      deal(line + line_pitch, windows, r.stride, deals, pitch, dealt + deals * pitch + i * windows);
    }
  }
  const auto store = [&](const PoolLine& to, int64_t o, int64_t end, V v) {
    const V divisor = divisors<V>(r, to, o, lanes_left<V>(o, r.columns));
    store_some(static_cast<S*>(to.y) + o, lanes_left<V>(o, end), operation.finish(v, divisor));
  };
  const T* const from = r.stride == 1 ? lines : dealt;
  if constexpr (Operation::kNumbers) {
    const T* const from_rows = r.stride == 1 ? lines + line_pitch : dealt + deals * pitch;
    slide_numbered<V>(r.kernel, offset, from, from_rows, ending, values, values + pitch, values + 2 * pitch);
  } else if (r.line_count == 1) {
    return slide<V>(operation, r.kernel, offset, from, ending,
                    [&](int64_t o, V v) { store(*r.lines, o, r.columns, v); });
  } else {
    slide<V>(operation, r.kernel, offset, from, ending, [&](int64_t o, V v) { v.store(values + o); });
  }
  for (int64_t i = 0; i < r.line_count; ++i) {
    const T* const result = values + i * windows;
    const int64_t end = writable<S>(r.lines, r.line_count, i, r.columns, &PoolLine::y);
    for (int64_t o = 0; o < r.columns; o += V::kLanes) store(r.lines[i], o, end, V::load(result + o));
    if constexpr (Operation::kNumbers) store_positions(r, r.lines[i], result + pitch, result + 2 * pitch);
  }
}

template <class V, class S, PoolOperation kOperation>
void pool_sliding(const PoolLines& r) {
  with_operation<V, kOperation>(r, [&](const auto& operation) { slide_lines<V, S>(r, operation); });
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
