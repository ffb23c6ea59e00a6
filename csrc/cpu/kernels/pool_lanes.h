// Windows whose elements are runs of channels (contract: PoolRow in kernel_table.h): every lane is a channel,
// so any window is as good as any other. Numbers are flat positions in the plane.
#pragma once

#include "cpu/kernel_table.h"
#include "cpu/kernels/pool_operations.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

template <class V>
void store_numbers(V lanes, int count, int64_t* to) {
  typename V::Scalar numbers[V::kLanes];
  lanes.store(numbers);
  if (count == V::kLanes) {
    for (int i = 0; i < V::kLanes; ++i) to[i] = number_of_lane(numbers[i]);
  } else {
    for (int i = 0; i < count; ++i) to[i] = number_of_lane(numbers[i]);
  }
}

// Channels [channel, channel + kVectors * kLanes) of window o, or, with kPart, the first `count` of one
// vector.
template <class V, class S, int kVectors, bool kPart, class Operation>
void pool_channels(const PoolRow& r, const Operation& operation, int64_t o, int64_t channel, int count) {
  using T = typename V::Scalar;
  constexpr int kLanes = V::kLanes;
  const Taps window = r.taps[o];
  // Nothing beats -Inf in a window that holds nothing else: the first element is taken.
  const bool empty = r.row_count == 0 || window.count == 0;
  const int64_t first = Operation::kNumbers && !empty ? r.row_position[0] + window.first : 0;
  typename Operation::State state[kVectors];
  for (auto& s : state) s = operation.start(first);
  for (int64_t k = 0; k < r.row_count; ++k) {
    const S* p = static_cast<const S*>(r.rows[k]) + window.first * r.x_pitch + channel;
    int64_t position = Operation::kNumbers ? r.row_position[k] + window.first : 0;
    for (int64_t t = 0; t < window.count; ++t, p += r.step * r.x_pitch, position += r.step) {
#pragma GCC unroll 8
      for (int i = 0; i < kVectors; ++i) {
        operation.add(state[i], kPart ? load_partial_as(p, count, V{}) : load_as(p + i * kLanes, V{}),
                      position);
      }
    }
  }
  V divisor = V::all(1);
  if (r.divisor) divisor = V::all(static_cast<T>(r.row_divisor) * static_cast<const T*>(r.divisor)[o]);
  S* y = static_cast<S*>(r.y) + o * r.y_pitch + channel;
  for (int i = 0; i < kVectors; ++i) {
    const V v = operation.finish(operation.value(state[i]), divisor);
    if (kPart) {
      store_partial_as(y, count, v);
    } else {
      store_as(y + i * kLanes, v);
    }
    if constexpr (Operation::kNumbers) {
      int64_t* indices = r.indices + o * r.y_pitch + channel + i * kLanes;
      store_numbers(state[i].number, count, indices);
      if (empty) {
        for (int c = 0; c < count; ++c) indices[c] = -1;
      }
    }
  }
}

template <class V, class S, class Operation>
void walk_channels(const PoolRow& r, const Operation& operation) {
  constexpr int kLanes = V::kLanes, kMost = Operation::kNumbers ? 4 : 8;
  for (int64_t o = 0; o < r.columns; ++o) {
    int64_t c = 0;
    for (; c + kMost * kLanes <= r.channels; c += kMost * kLanes) {
      pool_channels<V, S, kMost, false>(r, operation, o, c, kLanes);
    }
    for (; c + kLanes <= r.channels; c += kLanes) pool_channels<V, S, 1, false>(r, operation, o, c, kLanes);
    if (c < r.channels) pool_channels<V, S, 1, true>(r, operation, o, c, static_cast<int>(r.channels - c));
  }
}

template <class V, class S, PoolOperation kOperation>
void pool_lanes(const PoolRow& r) {
  with_operation<V, kOperation>(r, [&](const auto& operation) { walk_channels<V, S>(r, operation); });
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
