// Depthwise kernels whose vectors run along the positions (contracts/depthwise.h): filters of one channel
// each, whose sums have no common operand to reuse but the weights.
#pragma once

#include "cpu/contracts/depthwise.h"
#include "cpu/kernels/activations.h"
#include "cpu/kernels/vector_parts.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

// The sums of a chain of fused multiply-adds over the taps [first, end), of kVectors vectors of positions
// from j on.
template <class V, int kVectors, class Line>
inline __attribute__((always_inline)) void filter_chain(const Line& p, int64_t first, int64_t end, int64_t j,
                                                        V (&sum)[kVectors]) {
  using T = typename V::Scalar;
  const T* weights = static_cast<const T*>(p.weights);
#pragma GCC unroll 8
  for (int i = 0; i < kVectors; ++i) sum[i] = V::zero();
  for (int64_t t = first; t < end; ++t) {
    const V w = V::all(weights[t]);
    const T* line = static_cast<const T*>(p.lines[t]) + j;
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) sum[i] = fma(w, V::load(line + i * V::kLanes), sum[i]);
  }
}

// The sums of all chains, onto `before` unless that is null: the same for an element however many vectors are
// taken at a time.
template <class V, int kVectors, class Line>
inline __attribute__((always_inline)) void filter_vectors(const Line& p, int64_t j,
                                                          const typename V::Scalar* before,
                                                          V (&sum)[kVectors]) {
  int64_t end = p.chain < p.taps ? p.chain : p.taps;
  filter_chain<V>(p, 0, end, j, sum);
  if (before) {
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) sum[i] = sum[i] + V::load(before + i * V::kLanes);
  }
  while (end < p.taps) {
    const int64_t first = end;
    end = p.taps - first < p.chain ? p.taps : first + p.chain;
    V chain[kVectors];
    filter_chain<V>(p, first, end, j, chain);
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) sum[i] = chain[i] + sum[i];
  }
}

// Calls body(j, sums of vectors from j on) for vectors that cover [0, count), the last of them perhaps laid
// back over its neighbours: eight at a time, then four, two and one.
template <class V, int kVectors, class Body>
inline __attribute__((always_inline)) void filter_along(int64_t done, int64_t count, const Body& body) {
  constexpr int64_t kWidth = kVectors * V::kLanes;
  V sum[kVectors];
  for (; done + kWidth <= count; done += kWidth) body(done, sum);
  if constexpr (kVectors > 1) {
    filter_along<V, kVectors / 2>(done, count, body);
  } else if (done < count) {
    body(vector_start<V>(done, count), sum);
  }
}
constexpr int kFilteredVectors = 8;

template <class V>
void filter_row(const DepthwiseLine& p) {
  using T = typename V::Scalar;
  T* out = static_cast<T*>(p.out);
  const int64_t count = (p.count + V::kLanes - 1) / V::kLanes * V::kLanes;
  filter_along<V, kFilteredVectors>(0, count, [&](int64_t j, auto& sum) {
    filter_vectors<V>(p, j, p.accumulate ? out + j : nullptr, sum);
    for (const V& v : sum) {
      v.store(out + j);
      j += V::kLanes;
    }
  });
}

template <class V, class S>
void filter_runs(const DepthwiseRuns& p) {
  using T = typename V::Scalar;
  const T* const sums = static_cast<const T*>(p.sums);
  const V bias = p.bias ? V::all(*static_cast<const T*>(p.bias)) : V::zero();
  const char* ahead = static_cast<const char*>(p.ahead);
  const int64_t ahead_of_run = p.run_count ? (p.ahead_bytes / p.run_count + 63) / 64 * 64 : 0;
  with_activation_or_costly(p.activation, [&](auto kind) {
    for (const PixelRun* run = p.runs; run < p.runs + p.run_count; ++run) {
      S* const out = static_cast<S*>(p.out) + run->result;
      const int lanes = lanes_left<V>(0, run->count);  // that whole vectors store
      for (const char* end = ahead + ahead_of_run; ahead < end; ahead += 64) __builtin_prefetch(ahead);
      filter_along<V, kFilteredVectors>(0, run->count, [&](int64_t i, auto& sum) {
        const int64_t j = run->start + i;
        filter_vectors<V>(p, j, sums ? sums + j : nullptr, sum);
        for (const V& v : sum) {
          store_some(out + i, lanes, activate(kind, p.bias ? v + bias : v));
          i += V::kLanes;
        }
      });
    }
  });
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
