// Depthwise kernels whose vectors run along nr neighbouring channels (DepthwiseLanes in
// contracts/depthwise.h).
#pragma once

#include "cpu/contracts/depthwise.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

// Each sum is one of chains of fused multiply-adds over the taps, however many positions are taken at a time.
template <class V, int kVectors, int kPositions>
void filter_positions(const DepthwiseLanes& p, int64_t row, int64_t j) {
  using T = typename V::Scalar;
  constexpr int kWidth = kVectors * V::kLanes;
  const T* weights = static_cast<const T*>(p.weights);
  const T* source = static_cast<const T*>(p.source) + row * p.row_step + j * p.step;
  T* out = static_cast<T*>(p.out) + row * p.out_row_step + j * p.out_step;
  for (int64_t first = 0; first < p.taps; first += p.chain) {
    const int64_t end = p.taps - first < p.chain ? p.taps : first + p.chain;
    V acc[kPositions][kVectors];
#pragma GCC unroll 8
    for (int i = 0; i < kPositions; ++i)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) acc[i][v] = V::zero();
    for (int64_t t = first; t < end; ++t) {
      const T* line = source + p.tap_offset[t];
      V w[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) w[v] = V::load(weights + t * kWidth + v * V::kLanes);
#pragma GCC unroll 8
      for (int i = 0; i < kPositions; ++i)
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v)
          acc[i][v] = fma(w[v], V::load(line + i * p.step + v * V::kLanes), acc[i][v]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < kPositions; ++i)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        T* to = out + i * p.out_step + v * V::kLanes;
        if (first > 0) acc[i][v] = acc[i][v] + V::load(to);
        acc[i][v].store(to);
      }
  }
}

template <class V, int kVectors>
void filter_lanes(const DepthwiseLanes& p) {
  constexpr int kMost = 7;
  using Part = void (*)(const DepthwiseLanes&, int64_t, int64_t);
  static constexpr Part parts[kMost + 1] = {nullptr,
                                            filter_positions<V, kVectors, 1>,
                                            filter_positions<V, kVectors, 2>,
                                            filter_positions<V, kVectors, 3>,
                                            filter_positions<V, kVectors, 4>,
                                            filter_positions<V, kVectors, 5>,
                                            filter_positions<V, kVectors, 6>,
                                            filter_positions<V, kVectors, 7>};
  // Column by column: the rows that a window holds stay in L1 while it moves down.
  for (int64_t j = 0; j < p.count;) {
    const int64_t left = p.count - j, pieces = (left + kMost - 1) / kMost;
    const int64_t taken = (left + pieces - 1) / pieces;
    for (int64_t row = 0; row < p.rows; ++row) parts[taken](p, row, j);
    j += taken;
  }
}

template <class V, int kVectors, int kTaps>
void correlate_taps(const DepthwiseLanes& p, int64_t t) {
  using T = typename V::Scalar;
  constexpr int kWidth = kVectors * V::kLanes;
  const T* values = static_cast<const T*>(p.values);
  T* out = static_cast<T*>(p.out) + t * kWidth;
  const T* lines[kTaps];
  V acc[kTaps][kVectors];
#pragma GCC unroll 4
  for (int i = 0; i < kTaps; ++i) {
    lines[i] = static_cast<const T*>(p.source) + p.tap_offset[t + i];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) acc[i][v] = V::load(out + i * kWidth + v * V::kLanes);
  }
  for (int64_t row = 0; row < p.rows; ++row)
    for (int64_t j = 0; j < p.count; ++j) {
      const T* value = values + row * p.out_row_step + j * p.out_step;
      const int64_t at = row * p.row_step + j * p.step;
      V x[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) x[v] = V::load(value + v * V::kLanes);
#pragma GCC unroll 4
      for (int i = 0; i < kTaps; ++i)
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v)
          acc[i][v] = fma(x[v], V::load(lines[i] + at + v * V::kLanes), acc[i][v]);
    }
#pragma GCC unroll 4
  for (int i = 0; i < kTaps; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) acc[i][v].store(out + i * kWidth + v * V::kLanes);
}

template <class V, int kVectors>
void correlate_lanes(const DepthwiseLanes& p) {
  constexpr int kTaps = 3;
  int64_t t = 0;
  for (; t + kTaps <= p.taps; t += kTaps) correlate_taps<V, kVectors, kTaps>(p, t);
  for (; t < p.taps; ++t) correlate_taps<V, kVectors, 1>(p, t);
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
