// One window after the other along contiguous rows (PoolRow in contracts/pools.h; step 1): the vectors
// run along the window, and their lanes are combined at its end. For irregular windows and those much wider
// than a vector.
#pragma once

#include "cpu/contracts/pools.h"
#include "cpu/kernels/pool_operations.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

// Rows [begin, end) of a window, in one chain for each of four vectors.
template <class V, class S, class Operation>
inline __attribute__((always_inline)) V reduce_part(const PoolLine& line, const Operation& operation,
                                                    int64_t begin, int64_t end, int64_t first,
                                                    int64_t count) {
  constexpr int kLanes = V::kLanes, kStates = 4;
  typename Operation::State state[kStates];
#pragma GCC unroll 4
  for (int i = 0; i < kStates; ++i) state[i] = operation.start();
  const int64_t whole = count - count % kLanes;
  const int rest = static_cast<int>(count - whole);
  for (int64_t k = begin; k < end; ++k) {
    const S* row = static_cast<const S*>(line.rows[k]) + first;
    int64_t j = 0;
    for (; j + kStates * kLanes <= whole; j += kStates * kLanes) {
#pragma GCC unroll 4
      for (int i = 0; i < kStates; ++i) operation.add(state[i], load_as(row + j + i * kLanes, V{}), 0);
    }
    for (; j < whole; j += kLanes) operation.add(state[1], load_as(row + j, V{}), 0);
    if (rest) operation.add(state[3], masked(operation, load_partial_as(row + whole, rest, V{}), rest), 0);
  }
  return operation.merge(operation.merge(state[0], state[1]), operation.merge(state[2], state[3]));
}

// The same, long ones in halves.
template <class V, class S, class Operation>
V reduce_window(const PoolLine& line, const Operation& operation, int64_t begin, int64_t end, int64_t first,
                int64_t count) {
  if ((end - begin) * count <= kLongestPart)
    return reduce_part<V, S>(line, operation, begin, end, first, count);
  if (end - begin > 1) {
    const int64_t middle = (begin + end) / 2;
    return operation.merge(reduce_window<V, S>(line, operation, begin, middle, first, count),
                           reduce_window<V, S>(line, operation, middle, end, first, count));
  }
  const int64_t half = count / 2 / V::kLanes * V::kLanes;
  return operation.merge(reduce_window<V, S>(line, operation, begin, end, first, half),
                         reduce_window<V, S>(line, operation, begin, end, first + half, count - half));
}

// One lane for each of up to kLanes windows.
template <class V, class S, class Operation>
V reduce_windows(const PoolLine& line, const Operation& operation, const Taps* windows, int count) {
  V square[V::kLanes];
  for (int i = 0; i < V::kLanes; ++i) {
    square[i] = i < count ? reduce_window<V, S>(line, operation, 0, line.row_count, windows[i].first,
                                                windows[i].count)
                          : operation.value(operation.start());
  }
  transpose(square);
#pragma GCC unroll 4
  for (int half = V::kLanes / 2; half > 0; half /= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < half; ++i) square[i] = operation.merge(square[i], square[i + half]);
  }
  return square[0];
}

// The maximum and its flat position. Vectors are numbered, so that of lanes that tie the one with the lower
// number wins, then the lower lane.
template <class V, class S>
typename V::Scalar find_maximum(const PoolLine& line, const NumberedMaximum<V>& operation, Taps window,
                                int64_t* position) {
  using T = typename V::Scalar;
  constexpr int kLanes = V::kLanes;
  const int64_t vectors = (window.count + kLanes - 1) / kLanes;  // of a row
  auto state = operation.start();
  for (int64_t k = 0; k < line.row_count; ++k) {
    const S* row = static_cast<const S*>(line.rows[k]) + window.first;
    for (int64_t i = 0; i < vectors; ++i) {
      const int count = lanes_left<V>(i * kLanes, window.count);
      const V x = load_some<V>(row + i * kLanes, count);
      operation.add(state, count == kLanes ? x : masked(operation, x, count), k * vectors + i);
    }
  }
  T values[kLanes], numbers[kLanes];
  state.value.store(values);
  state.number.store(numbers);
  T value = values[0], number = numbers[0];
  int lane = 0;
  for (int i = 1; i < lanes_left<V>(0, window.count); ++i) {
    // Written without branches, which nobody could predict.
    const bool nan = values[i] != values[i], nan_before = value != value;
    const bool ties = (values[i] == value) | (nan & nan_before), earlier = numbers[i] < number;
    const bool wins = (values[i] > value) | (nan & !nan_before) | (ties & earlier);
    value = wins ? values[i] : value;
    number = wins ? numbers[i] : number;
    lane = wins ? i : lane;
  }
  const bool empty = line.row_count == 0 || window.count == 0;
  const int64_t vector = number_of_lane(number), k = empty || vector < vectors ? 0 : vector / vectors;
  *position = empty ? -1 : line.row_number[k] + window.first + (vector - k * vectors) * kLanes + lane;
  return value;
}

template <class V, class S, class Operation>
void walk_windows(const PoolLines& r, const Operation& operation) {
  for (const PoolLine* line = r.lines; line < r.lines + r.line_count; ++line) {
    for (int64_t o = 0; o < r.columns; o += V::kLanes) {
      const int count = lanes_left<V>(o, r.columns);
      V v;
      if constexpr (Operation::kNumbers) {
        typename V::Scalar maxima[V::kLanes] = {};
        for (int i = 0; i < count; ++i) {
          maxima[i] = find_maximum<V, S>(*line, operation, r.taps[o + i], line->indices + o + i);
        }
        v = V::load(maxima);
      } else {
        v = reduce_windows<V, S>(*line, operation, r.taps + o, count);
      }
      store_some(static_cast<S*>(line->y) + o, count, operation.finish(v, divisors<V>(r, *line, o, count)));
    }
  }
}

template <class V, class S, PoolOperation kOperation>
void pool_window(const PoolLines& r) {
  with_operation<V, kOperation>(r, [&](const auto& operation) { walk_windows<V, S>(r, operation); });
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
