// Depthwise kernels (contract: DepthwiseLine in kernel_table.h): filters of one channel each, whose sums have
// no common operand to reuse but the weights. Rows run vectors along the positions, lanes along the channels.
#pragma once

#include "cpu/kernel_table.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

// Every element is one chain of fused multiply-adds over the taps, however many vectors are taken at a time.
template <class V, int kVectors>
void filter_row_part(const DepthwiseLine& p, int64_t j) {
  using T = typename V::Scalar;
  const T* weights = static_cast<const T*>(p.weights);
  T* out = static_cast<T*>(p.out) + j;
  V acc[kVectors];
#pragma GCC unroll 8
  for (int i = 0; i < kVectors; ++i) acc[i] = p.accumulate ? V::load(out + i * V::kLanes) : V::zero();
  for (int64_t t = 0; t < p.taps; ++t) {
    const V w = V::all(weights[t]);
    const T* line = static_cast<const T*>(p.lines[t]) + j;
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) acc[i] = fma(w, V::load(line + i * V::kLanes), acc[i]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < kVectors; ++i) acc[i].store(out + i * V::kLanes);
}

template <class V>
void filter_row(const DepthwiseLine& p) {
  constexpr int kVectors = 8;
  int64_t j = 0;
  for (; j + kVectors * V::kLanes <= p.count; j += kVectors * V::kLanes) filter_row_part<V, kVectors>(p, j);
  for (; j < p.count; j += V::kLanes) filter_row_part<V, 1>(p, j);
}

template <class V, int kVectors, int kPositions>
void filter_lanes_part(const DepthwiseLine& p, int64_t j) {
  using T = typename V::Scalar;
  constexpr int kWidth = kVectors * V::kLanes;
  const T* weights = static_cast<const T*>(p.weights);
  T* out = static_cast<T*>(p.out) + j * kWidth;
  V acc[kPositions][kVectors];
#pragma GCC unroll 8
  for (int i = 0; i < kPositions; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v)
      acc[i][v] = p.accumulate ? V::load(out + i * kWidth + v * V::kLanes) : V::zero();
  for (int64_t t = 0; t < p.taps; ++t) {
    const T* line = static_cast<const T*>(p.lines[t]) + j * kWidth;
    V w[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) w[v] = V::load(weights + t * kWidth + v * V::kLanes);
#pragma GCC unroll 8
    for (int i = 0; i < kPositions; ++i)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v)
        acc[i][v] = fma(w[v], V::load(line + i * kWidth + v * V::kLanes), acc[i][v]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < kPositions; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) acc[i][v].store(out + i * kWidth + v * V::kLanes);
}

template <class V, int kVectors>
void filter_lanes(const DepthwiseLine& p) {
  constexpr int kPositions = 6;
  int64_t j = 0;
  for (; j + kPositions <= p.count; j += kPositions) filter_lanes_part<V, kVectors, kPositions>(p, j);
  for (; j < p.count; ++j) filter_lanes_part<V, kVectors, 1>(p, j);
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

template <class V, int kVectors>
void correlate_lanes(const DepthwiseLine& p) {
  using T = typename V::Scalar;
  constexpr int kWidth = kVectors * V::kLanes;
  const T* values = static_cast<const T*>(p.values);
  for (int64_t t = 0; t < p.taps; ++t) {
    const T* line = static_cast<const T*>(p.lines[t]);
    T* out = static_cast<T*>(p.out) + t * kWidth;
    V acc[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) acc[v] = V::load(out + v * V::kLanes);
    for (int64_t r = 0; r < p.run_count; ++r)
      for (int64_t j = p.runs[r].start; j < p.runs[r].start + p.runs[r].count; ++j) {
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) {
          const int64_t at = j * kWidth + v * V::kLanes;
          acc[v] = fma(V::load(values + at), V::load(line + at), acc[v]);
        }
      }
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) acc[v].store(out + v * V::kLanes);
  }
}

template <class V, int kVectors>
constexpr DepthwiseKernels depthwise_kernels() {
  return {filter_row<V>, filter_lanes<V, kVectors>, correlate_row<V>, correlate_lanes<V, kVectors>,
          V::kLanes};
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
