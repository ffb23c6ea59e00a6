// One window after the other along contiguous rows (contract: PoolRow in kernel_table.h; step 1): the vectors
// run along the window, and their lanes are combined at its end. For irregular windows and those much wider
// than a vector.
#pragma once

#include "cpu/kernel_table.h"
#include "cpu/kernels/pool_operations.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

// The first `count` lanes of v, the others as if nothing had been seen.
template <class V, class Operation>
V masked(const Operation& operation, V v, int count) {
  using T = typename V::Scalar;
  static constexpr T kLane[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return select(V::load(kLane) < V::all(static_cast<T>(count)), v, operation.value(operation.start()));
}

template <class V, class S, class Operation>
typename V::Scalar reduce_window(const PoolRow& r, const Operation& operation, Taps window) {
  constexpr int kLanes = V::kLanes, kStates = 4;
  typename Operation::State state[kStates];
  for (auto& s : state) s = operation.start();
  const int64_t whole = window.count - window.count % kLanes;
  const int rest = static_cast<int>(window.count - whole);
  for (int64_t k = 0; k < r.row_count; ++k) {
    const S* row = static_cast<const S*>(r.rows[k]) + window.first;
    int64_t j = 0;
    for (; j + kStates * kLanes <= whole; j += kStates * kLanes) {
#pragma GCC unroll 4
      for (int i = 0; i < kStates; ++i) operation.add(state[i], load_as(row + j + i * kLanes, V{}), 0);
    }
    for (int i = 0; j < whole; j += kLanes, ++i) operation.add(state[i], load_as(row + j, V{}), 0);
    if (rest) operation.add(state[3], masked(operation, load_partial_as(row + whole, rest, V{}), rest), 0);
  }
  V v = operation.merge(operation.merge(state[0], state[1]), operation.merge(state[2], state[3]));
  typename V::Scalar lanes[kLanes];
  for (int half = kLanes / 2; half > 0; half /= 2) {
    v.store(lanes);
    v = operation.merge(v, V::load_partial(lanes + half, half));
  }
  v.store(lanes);
  return lanes[0];
}

// The maximum and its flat position: each vector has a number, and of lanes that tie the earliest position
// wins.
template <class V, class S>
typename V::Scalar find_maximum(const PoolRow& r, const NumberedMaximum<V>& operation, Taps window,
                                int64_t* position) {
  using T = typename V::Scalar;
  constexpr int kLanes = V::kLanes;
  const int64_t vectors = (window.count + kLanes - 1) / kLanes;  // of a row
  auto state = operation.start();
  for (int64_t k = 0; k < r.row_count; ++k) {
    const S* row = static_cast<const S*>(r.rows[k]) + window.first;
    for (int64_t i = 0; i < vectors; ++i) {
      const int64_t rest = window.count - i * kLanes;
      const V x = rest >= kLanes
                      ? load_as(row + i * kLanes, V{})
                      : masked(operation, load_partial_as(row + i * kLanes, static_cast<int>(rest), V{}),
                               static_cast<int>(rest));
      operation.add(state, x, k * vectors + i);
    }
  }
  T values[kLanes], numbers[kLanes];
  state.value.store(values);
  state.number.store(numbers);
  *position = -1;
  if (r.row_count == 0 || window.count == 0) return values[0];
  T best = values[0];
  const int64_t used = window.count < kLanes ? window.count : kLanes;
  for (int i = 0; i < used; ++i) {
    const int64_t number = number_of_lane(numbers[i]);
    const int64_t at = r.row_position[number / vectors] + window.first + number % vectors * kLanes + i;
    const bool ties = values[i] == best || (values[i] != values[i] && best != best);
    const bool wins = values[i] > best || (values[i] != values[i] && best == best);
    if (wins || *position < 0 || (ties && at < *position)) {
      best = values[i];
      *position = at;
    }
  }
  return best;
}

template <class V, class S, class Operation>
void walk_windows(const PoolRow& r, const Operation& operation) {
  constexpr int kLanes = V::kLanes;
  S* y = static_cast<S*>(r.y);
  for (int64_t o = 0; o < r.columns; o += kLanes) {
    const int count = r.columns - o < kLanes ? static_cast<int>(r.columns - o) : kLanes;
    typename V::Scalar results[kLanes];
    for (int i = 0; i < count; ++i) {
      if constexpr (Operation::kNumbers) {
        results[i] = find_maximum<V, S>(r, operation, r.taps[o + i], r.indices + o + i);
      } else {
        results[i] = reduce_window<V, S>(r, operation, r.taps[o + i]);
      }
    }
    const V v = operation.finish(V::load_partial(results, count), divisors<V>(r, o, count));
    store_partial_as(y + o, count, v);
  }
}

template <class V, class S, PoolOperation kOperation>
void pool_window(const PoolRow& r) {
  with_operation<V, kOperation>(r, [&](const auto& operation) { walk_windows<V, S>(r, operation); });
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
