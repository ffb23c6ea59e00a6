// Sliding windows along contiguous rows (contract: PoolLines in kernel_table.h), in steps that stay in L1:
//
//   combine   the rows of each line become one, with as much padding around it as the windows reach into;
//   lines follow
//             each other at whole windows' distance, so that they are one long line to the next steps
//             . . a b c d e f g .  . . h i j k l m n .       stride 2, kernel 3, padding 2
//   deal      by the stride, so that what lies under one tap of neighbouring windows is contiguous
//             . a c e g  . h j l n  and  . b d f .  . i k m .
//   slide     the deals are combined tap by tap: tap t is at position t * step / stride of deal t * step %
//   stride store     finished, without what lies between the lines
//
// Scratch: sliding_scratch() of the driver.
#pragma once

#include "cpu/kernel_table.h"
#include "cpu/kernels/pool_operations.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

// Elements beyond the end of a line that vectors may read, to no effect.
constexpr int kSlack = 16;

template <class T>
void fill(T* p, int64_t count, T value) {
  for (int64_t i = 0; i < count; ++i) p[i] = value;
}

// Positions [begin, end) of a line: each row added in turn. kRows unrolls the commonest heights; 0 is any.
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

// `size` positions of a line, the first of them input column r.start. Writes up to kSlack beyond.
template <class V, class S, class Operation>
void make_line(const PoolLines& r, const PoolLine& line, const Operation& operation, int64_t size,
               typename V::Scalar* values, typename V::Scalar* numbers) {
  int64_t begin = r.start < 0 ? -r.start : 0, end = r.input - r.start < size ? r.input - r.start : size;
  if (begin > size) begin = size;
  if (end < begin) end = begin;
  switch (line.row_count) {
    case 1:
      combine_rows<V, S, 1>(line, operation, r.start, begin, end, values, numbers);
      break;
    case 2:
      combine_rows<V, S, 2>(line, operation, r.start, begin, end, values, numbers);
      break;
    case 3:
      combine_rows<V, S, 3>(line, operation, r.start, begin, end, values, numbers);
      break;
    default:
      combine_rows<V, S, 0>(line, operation, r.start, begin, end, values, numbers);
      break;
  }
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

// values[o] = all taps of window o combined, for o < count.
template <class V, int kTaps, class Operation>
void slide(const Operation& operation, int64_t kernel, const int64_t* offset, const typename V::Scalar* line,
           int64_t count, typename V::Scalar* values) {
  const int64_t taps = kTaps ? kTaps : kernel;
  for (int64_t o = 0; o < count; o += V::kLanes) {
    V v = V::load(line + offset[0] + o);
#pragma GCC unroll 4
    for (int64_t t = 1; t < taps; ++t) v = operation.merge(v, V::load(line + offset[t] + o));
    v.store(values + o);
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
    int64_t at = r.start + o * r.stride + number_of_lane(taps[o]) * r.step;
    if (at < 0) at = r.taps[o].first;  // padding ties with -Inf, but never wins
    const bool empty = line.row_count == 0 || r.taps[o].count == 0;
    line.indices[o] = empty ? -1 : line.row_position[number_of_lane(rows[o])] + at;
  }
}

template <class V, class S, class Operation>
void slide_lines(const PoolLines& r, const Operation& operation) {
  using T = typename V::Scalar;
  constexpr int kStreams = Operation::kNumbers ? 2 : 1;  // values, and the rows they came from
  const int64_t reach = (r.kernel - 1) * r.step;
  const int64_t shifts = reach / r.stride,
                windows = r.columns + shifts;  // of a line, those that end in the next one too
  const int64_t size = windows * r.stride, count = r.line_count * windows, pitch = count + kSlack;
  const int64_t deals =
      r.stride <= reach || r.stride <= 4 ? r.stride : reach + 1;  // of small strides all are made
  int64_t* offset = static_cast<int64_t*>(r.scratch);
  T* line = reinterpret_cast<T*>(offset + r.kernel);
  const int64_t line_pitch = r.line_count * size + kSlack;
  T* dealt = line + kStreams * line_pitch;
  for (int64_t i = 0; i < r.line_count; ++i) {
    make_line<V, S>(r, r.lines[i], operation, size, line + i * size, line + line_pitch + i * size);
  }
  for (int64_t t = 0, phase = 0, shift = 0; t < r.kernel; ++t, phase += r.step) {
    for (; phase >= r.stride; phase -= r.stride) ++shift;
    offset[t] = phase * pitch + shift;
  }
  T* values = dealt;
  const T* numbers = line + line_pitch;
  if (r.stride > 1) {
    deal(line, count, r.stride, deals, pitch, dealt);
    if constexpr (Operation::kNumbers) deal(numbers, count, r.stride, deals, pitch, dealt + deals * pitch);
    line = dealt;
    numbers = dealt + deals * pitch;
    values = dealt + kStreams * deals * pitch;
  }
  const int64_t ending = count - shifts;
  T* const rows = values + pitch;
  T* const taps = rows + pitch;
  if constexpr (Operation::kNumbers) {
    slide_numbered<V>(r.kernel, offset, line, numbers, ending, values, rows, taps);
  } else {
    switch (r.kernel) {
      case 2:
        slide<V, 2>(operation, 2, offset, line, ending, values);
        break;
      case 3:
        slide<V, 3>(operation, 3, offset, line, ending, values);
        break;
      default:
        slide<V, 0>(operation, r.kernel, offset, line, ending, values);
        break;
    }
  }
  for (int64_t i = 0; i < r.line_count; ++i, values += windows) {
    const PoolLine& to = r.lines[i];
    for (int64_t o = 0; o < r.columns; o += V::kLanes) {
      const int n = lanes_left<V>(o, r.columns);
      store_some(static_cast<S*>(to.y) + o, n,
                 operation.finish(V::load(values + o), divisors<V>(r, to, o, n)));
    }
    if constexpr (Operation::kNumbers) store_positions(r, to, rows + i * windows, taps + i * windows);
  }
}

template <class V, class S, PoolOperation kOperation>
void pool_sliding(const PoolLines& r) {
  with_operation<V, kOperation>(r, [&](const auto& operation) { slide_lines<V, S>(r, operation); });
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
