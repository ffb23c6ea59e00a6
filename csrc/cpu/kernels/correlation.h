// Correlation of lines with shifted planes (contracts/correlation.h): a matrix product whose reduction runs
// along the vectors, so that neither side is packed. A tile is a few lines by a few features of sums, in
// registers: 3 by 3 take 6 loads for 9 products.
#pragma once

#include "cpu/contracts/correlation.h"
#include "cpu/kernels/vector_parts.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

constexpr int kMostLines = kVectorRegisters == 32 ? 4 : 3;

// Features of a tile of so many lines: sums, an element of each feature, a value and the mask of a row's end
// have to fit the registers. With 4 x 3 in 16 of them a sum went to memory and back in every step, at half
// the speed.
constexpr int tile_features(int lines) { return (kVectorRegisters - 2) / (lines + 1); }

template <class V, int kLines, int kFeatures>
void correlate_tile(const Correlation& p, int64_t line, int64_t feature) {
  using T = typename V::Scalar;
  V sum[kLines][kFeatures];
  T* const sums = static_cast<T*>(p.sums) + (line * p.features + feature) * V::kLanes;
#pragma GCC unroll 8
  for (int l = 0; l < kLines; ++l)
#pragma GCC unroll 16
    for (int i = 0; i < kFeatures; ++i) sum[l][i] = V::zero();
  const T* x[kFeatures];
  for (const CorrelationRows* s = p.stretches; s < p.stretches + p.stretch_count; ++s) {
    const T* values = static_cast<const T*>(p.values) + line * p.line_step + s->value;
#pragma GCC unroll 16
    for (int i = 0; i < kFeatures; ++i)
      x[i] = static_cast<const T*>(p.planes) + s->plane + p.offset[feature + i];
    const auto add = [&](int64_t j, const auto& load) {
      V e[kFeatures];
#pragma GCC unroll 16
      for (int i = 0; i < kFeatures; ++i) e[i] = load(x[i] + j);
#pragma GCC unroll 8
      for (int l = 0; l < kLines; ++l) {
        const V value = load(values + l * p.line_step + j);
#pragma GCC unroll 16
        for (int i = 0; i < kFeatures; ++i) sum[l][i] = fma(value, e[i], sum[l][i]);
      }
    };
    for (int64_t row = 0; row < s->rows; ++row, values += p.value_row_step) {
      int64_t j = 0;
      for (; j + V::kLanes <= s->columns; j += V::kLanes) add(j, [](const T* from) { return V::load(from); });
      if (const int rest = static_cast<int>(s->columns - j); rest > 0)
        add(j, [rest](const T* from) { return V::load_partial(from, rest); });
#pragma GCC unroll 16
      for (int i = 0; i < kFeatures; ++i) x[i] += p.plane_row_step;
    }
  }
#pragma GCC unroll 8
  for (int l = 0; l < kLines; ++l)
#pragma GCC unroll 16
    for (int i = 0; i < kFeatures; ++i) {
      T* const to = sums + (l * p.features + i) * V::kLanes;
      (V::load(to) + sum[l][i]).store(to);
    }
}

// `taken` features, at most kMost.
template <class V, int kLines, int kMost>
void correlate_some(const Correlation& p, int64_t line, int64_t feature, int64_t taken) {
  if constexpr (kMost > 1) {
    if (taken < kMost) return correlate_some<V, kLines, kMost - 1>(p, line, feature, taken);
  }
  correlate_tile<V, kLines, kMost>(p, line, feature);
}

// `taken` lines, at most kMost, by all features, in parts of nearly as many each.
template <class V, int kMost>
void correlate_lines(const Correlation& p, int64_t line, int64_t taken) {
  if constexpr (kMost > 1) {
    if (taken < kMost) return correlate_lines<V, kMost - 1>(p, line, taken);
  }
  constexpr int kFeatures = tile_features(kMost);
  for (int64_t feature = 0; feature < p.features;) {
    const int64_t left = p.features - feature, parts = (left + kFeatures - 1) / kFeatures,
                  part = (left + parts - 1) / parts;
    correlate_some<V, kMost, kFeatures>(p, line, feature, part);
    feature += part;
  }
}

template <class V>
void correlate(const Correlation& p) {
  for (int64_t line = 0; line < p.lines;) {
    const int64_t left = p.lines - line, parts = (left + kMostLines - 1) / kMostLines,
                  taken = (left + parts - 1) / parts;
    correlate_lines<V, kMostLines>(p, line, taken);
    line += taken;
  }
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
