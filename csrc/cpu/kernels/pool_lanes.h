// Windows whose elements are runs of channels (PoolLines in contracts/pools.h): every lane is a
// channel, so any window is as good as any other.
#pragma once

#include "cpu/contracts/pools.h"
#include "cpu/kernels/pool_operations.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

template <int kAll, class T, class Number>
void store_numbers(const T* __restrict lanes, int count, Number* __restrict to) {
  if (count == kAll) {
    for (int i = 0; i < kAll; ++i) to[i] = static_cast<Number>(number_of_lane(lanes[i]));
  } else {
    for (int i = 0; i < count; ++i) to[i] = static_cast<Number>(number_of_lane(lanes[i]));
  }
}

// Taps [first, first + taps) of rows [begin, end) of a window whose elements lie `pitch` apart, from `column`
// on.
struct WindowPart {
  int64_t begin, end, first, taps;
};

template <class V, class S, int kVectors, bool kPart, class Operation>
void add_elements(const PoolLine& line, const Operation& operation, const WindowPart& part, int64_t column,
                  int64_t pitch, int64_t first, int64_t step, int count,
                  typename Operation::State (&state)[kVectors]) {
  for (int64_t k = part.begin; k < part.end; ++k) {
    const S* p = static_cast<const S*>(line.rows[k]) + column + part.first * pitch;
    int64_t number = Operation::kNumbers ? line.row_number[k] + first : 0;
    for (int64_t t = 0; t < part.taps; ++t, p += pitch, number += step) {
#pragma GCC unroll 8
      for (int i = 0; i < kVectors; ++i) {
        operation.add(state[i], kPart ? load_partial_as(p, count, V{}) : load_as(p + i * V::kLanes, V{}),
                      number);
      }
    }
  }
}

template <class V, class S, int kVectors, bool kPart, class Operation>
void reduce_elements(const PoolLine& line, const Operation& operation, const WindowPart& part, int64_t column,
                     int64_t pitch, int count, typename Operation::State (&state)[kVectors]) {
  constexpr int64_t kLongest = kLongestPart / 32;  // a lane's share
  if ((part.end - part.begin) * part.taps <= kLongest)
    return add_elements<V, S, kVectors, kPart>(line, operation, part, column, pitch, 0, 0, count, state);
  WindowPart halves[2] = {part, part};
  if (part.end - part.begin > 1) {
    halves[0].end = halves[1].begin = (part.begin + part.end) / 2;
  } else {
    halves[0].taps = part.taps / 2;
    halves[1].first += halves[0].taps;
    halves[1].taps -= halves[0].taps;
  }
  for (const WindowPart& half : halves) {
    typename Operation::State other[kVectors];
    for (auto& s : other) s = operation.start();
    reduce_elements<V, S, kVectors, kPart>(line, operation, half, column, pitch, count, other);
    for (int i = 0; i < kVectors; ++i) state[i] = operation.merge(state[i], other[i]);
  }
}

// Channels [channel, channel + kVectors * kLanes) of window o, or, with kPart, the first `count` of one
// vector.
template <class V, class S, int kVectors, bool kPart, class Operation>
void pool_channels(const PoolLines& r, const PoolLine& line, const Operation& operation, int64_t o,
                   int64_t channel, int count) {
  using T = typename V::Scalar;
  constexpr int kLanes = V::kLanes;
  const Taps window = r.taps[o];
  // Nothing beats -Inf in a window that holds nothing else: the first element is taken.
  const bool empty = line.row_count == 0 || window.count == 0;
  const int64_t first = Operation::kNumbers && !empty ? line.row_number[0] + r.first_number[o] : 0;
  typename Operation::State state[kVectors];
  for (auto& s : state) s = operation.start(first);
  const WindowPart part = {0, line.row_count, 0, window.count};
  const int64_t column = window.first * r.x_pitch + channel, pitch = r.step * r.x_pitch;
  if constexpr (Operation::kNumbers) {
    add_elements<V, S, kVectors, kPart>(line, operation, part, column, pitch, r.first_number[o],
                                        r.number_step, count, state);
  } else {
    reduce_elements<V, S, kVectors, kPart>(line, operation, part, column, pitch, count, state);
  }
  V divisor = V::all(1);
  if (r.divisor) divisor = V::all(static_cast<T>(line.divisor) * static_cast<const T*>(r.divisor)[o]);
  S* y = static_cast<S*>(line.y) + o * r.y_pitch + channel;
  for (int i = 0; i < kVectors; ++i) {
    const V v = operation.finish(operation.value(state[i]), divisor);
    if (kPart) {
      store_partial_as(y, count, v);
    } else {
      store_as(y + i * kLanes, v);
    }
  }
  if constexpr (Operation::kNumbers) {
    constexpr int kAll = kVectors * kLanes;
    T numbers[kAll];
    for (int i = 0; i < kVectors; ++i) state[i].number.store(numbers + i * kLanes);
    const int64_t at = o * r.y_pitch + channel;
    const int all = kPart ? count : kAll;
    if (line.taps) {
      store_numbers<kAll>(numbers, all, line.taps + at);
    } else {
      store_numbers<kAll>(numbers, all, line.indices + at);
      if (empty) fill<int64_t>(line.indices + at, all, -1);
    }
  }
}

template <class V, class S, class Operation>
void walk_channels(const PoolLines& r, const Operation& operation) {
  constexpr int kLanes = V::kLanes, kMost = Operation::kNumbers ? 4 : 8;
  for (const PoolLine* line = r.lines; line < r.lines + r.line_count; ++line) {
    for (int64_t o = 0; o < r.columns; ++o) {
      int64_t c = 0;
      for (; c + kMost * kLanes <= r.channels; c += kMost * kLanes) {
        pool_channels<V, S, kMost, false>(r, *line, operation, o, c, kLanes);
      }
      for (; c + 2 * kLanes <= r.channels; c += 2 * kLanes)
        pool_channels<V, S, 2, false>(r, *line, operation, o, c, kLanes);
      for (; c + kLanes <= r.channels; c += kLanes)
        pool_channels<V, S, 1, false>(r, *line, operation, o, c, kLanes);
      if (c < r.channels)
        pool_channels<V, S, 1, true>(r, *line, operation, o, c, lanes_left<V>(c, r.channels));
    }
  }
}

template <class V, class S, PoolOperation kOperation>
void pool_lanes(const PoolLines& r) {
  with_operation<V, kOperation>(r, [&](const auto& operation) { walk_channels<V, S>(r, operation); });
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
