// Depthwise kernels whose vectors run along the positions (DepthwiseLine in contracts/depthwise.h):
// filters of one channel each, whose sums have no common operand to reuse but the weights.
#pragma once

#include "cpu/contracts/depthwise.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

// Every element is a sum of chains of fused multiply-adds over the taps, however many vectors are taken at a
// time.
template <class V, int kVectors>
void filter_row_part(const DepthwiseLine& p, int64_t j) {
  using T = typename V::Scalar;
  const T* weights = static_cast<const T*>(p.weights);
  T* out = static_cast<T*>(p.out) + j;
  bool add = p.accumulate;
  for (int64_t first = 0; first < p.taps; first += p.chain) {
    const int64_t end = p.taps - first < p.chain ? p.taps : first + p.chain;
    V acc[kVectors];
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) acc[i] = V::zero();
    for (int64_t t = first; t < end; ++t) {
      const V w = V::all(weights[t]);
      const T* line = static_cast<const T*>(p.lines[t]) + j;
#pragma GCC unroll 8
      for (int i = 0; i < kVectors; ++i) acc[i] = fma(w, V::load(line + i * V::kLanes), acc[i]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) {
      if (add) acc[i] = acc[i] + V::load(out + i * V::kLanes);
      acc[i].store(out + i * V::kLanes);
    }
    add = true;
  }
}

template <class V>
void filter_row(const DepthwiseLine& p) {
  constexpr int kVectors = 8;
  int64_t j = 0;
  for (; j + kVectors * V::kLanes <= p.count; j += kVectors * V::kLanes) filter_row_part<V, kVectors>(p, j);
  for (; j < p.count; j += V::kLanes) filter_row_part<V, 1>(p, j);
}

template <class V, int kTaps>
void correlate_row_part(const DepthwiseLine& p, int64_t t) {
  using T = typename V::Scalar;
  const T* values = static_cast<const T*>(p.values);
  T* out = static_cast<T*>(p.out) + t * V::kLanes;
  const T* lines[kTaps];
  V acc[kTaps];
#pragma GCC unroll 8
  for (int i = 0; i < kTaps; ++i) {
    lines[i] = static_cast<const T*>(p.lines[t + i]);
    acc[i] = V::load(out + i * V::kLanes);
  }
  for (int64_t r = 0; r < p.run_count; ++r) {
    int64_t j = p.runs[r].start;
    const int64_t end = j + p.runs[r].count;
    for (; j + V::kLanes <= end; j += V::kLanes) {
      const V x = V::load(values + j);
#pragma GCC unroll 8
      for (int i = 0; i < kTaps; ++i) acc[i] = fma(x, V::load(lines[i] + j), acc[i]);
    }
    if (j == end) continue;
    const int rest = static_cast<int>(end - j);
    const V x = V::load_partial(values + j, rest);
#pragma GCC unroll 8
    for (int i = 0; i < kTaps; ++i) acc[i] = fma(x, V::load_partial(lines[i] + j, rest), acc[i]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < kTaps; ++i) acc[i].store(out + i * V::kLanes);
}

template <class V>
void correlate_row(const DepthwiseLine& p) {
  constexpr int kTaps = 8;
  int64_t t = 0;
  for (; t + kTaps <= p.taps; t += kTaps) correlate_row_part<V, kTaps>(p, t);
  for (; t < p.taps; ++t) correlate_row_part<V, 1>(p, t);
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
