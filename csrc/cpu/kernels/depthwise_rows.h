// Depthwise kernels whose vectors run along the positions (contracts/depthwise.h): filters of one channel
// each, whose sums have no common operand to reuse but the weights and the lines that rows have in common.
//
// A tile is a few rows by a few vectors of sums, in registers. A column of taps passes over it line by line:
// each element is loaded once and meets every tap of the column that reads it,
//
//   row r of the tile  +=  weight[i] * line[r + i]        lines from 0 to rows + taps - 2
//
// so that 5 rows and 3 taps take 7 loads for 15 products.
#pragma once

#include <type_traits>

#include "cpu/contracts/depthwise.h"
#include "cpu/kernels/activations.h"
#include "cpu/kernels/vector_parts.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

constexpr int kMostTileRows = 4;

// Vectors across a tile of so many rows: sums, weights and an element have to fit the registers.
constexpr int tile_vectors(int rows) {
  int vectors = 8;
  while (rows * vectors + kTapsBelow + 2 > kVectorRegisters) vectors /= 2;
  return vectors;
}

template <class V, int kRows, int kVectors, int kTaps>
inline __attribute__((always_inline)) void filter_column(const typename V::Scalar* x, int64_t row_step,
                                                         const typename V::Scalar* weights,
                                                         V (&sum)[kRows][kVectors]) {
  V w[kTaps];
#pragma GCC unroll 4
  for (int i = 0; i < kTaps; ++i) w[i] = V::all(weights[i]);
#pragma GCC unroll 8
  for (int line = 0; line < kRows + kTaps - 1; ++line)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      const V e = V::load(x + line * row_step + v * V::kLanes);
#pragma GCC unroll 4
      for (int i = 0; i < kTaps; ++i)
        if (line >= i && line - i < kRows) sum[line - i][v] = fma(w[i], e, sum[line - i][v]);
    }
}

// What becomes of the sums: nothing more, or min(high, max(low, x + bias)), which relu and relu6 are, too.
// NaN stays.
struct Plain {
  template <class V>
  V operator()(V x) const {
    return x;
  }
};
template <class V>
struct Clamp {
  V bias, low, high;

  V operator()(V x) const { return min(high, max(low, x + bias)); }
};

// Calls body(Plain or Clamp) where one of them is all that is wanted; else false.
template <class V, class Body>
bool with_clamp(const DepthwiseFilter& p, const Body& body) {
  using T = typename V::Scalar;
  constexpr T kInfinity = T(__builtin_inf());
  const bool relu = p.activation == Activation::relu, relu6 = p.activation == Activation::relu6;
  if (!relu && !relu6 && p.activation != Activation::none) return false;
  if (!relu && !relu6 && !p.bias) {
    body(Plain{});
  } else {
    body(Clamp<V>{p.bias ? V::all(*static_cast<const T*>(p.bias)) : V::zero(),
                  V::all(relu || relu6 ? T(0) : -kInfinity), V::all(relu6 ? T(6) : kInfinity)});
  }
  return true;
}

template <class V, int kRows, int kVectors, int kTaps>
inline __attribute__((always_inline)) void filter_columns(int64_t count, const int64_t* offsets,
                                                          const typename V::Scalar* x, int64_t row_step,
                                                          const typename V::Scalar* weights,
                                                          V (&sum)[kRows][kVectors]) {
  for (int64_t c = 0; c < count; ++c, weights += kTaps)
    filter_column<V, kRows, kVectors, kTaps>(x + offsets[c], row_step, weights, sum);
}

// The sums of all chains, each one of fused multiply-adds, into `out`: the same for an element in whatever
// tile it is. kTaps: of every column, where these are all alike and one chain; else 0.
template <class V, int kRows, int kVectors, int kTaps, class Finish>
inline __attribute__((always_inline)) void filter_tile(const DepthwiseTaps& taps, const typename V::Scalar* x,
                                                       int64_t row_step, typename V::Scalar* out,
                                                       int64_t out_row_step, const Finish& finish) {
  using T = typename V::Scalar;
  const T* weights = static_cast<const T*>(taps.weights);
  const int64_t* offsets = taps.offsets;
  V sum[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) sum[r][v] = V::zero();
  alignas(64) T before[kRows][kVectors * V::kLanes];
  bool later = false;  // than the first chain
  if constexpr (kTaps > 0) {
    filter_columns<V, kRows, kVectors, kTaps>(taps.columns->count, offsets, x, row_step, weights, sum);
  } else {
    const TapColumns* const end = taps.columns + taps.count;
    for (const TapColumns* columns = taps.columns; columns < end; ++columns) {
      const int64_t count = columns->count;
      if (columns->taps == 3) {
        filter_columns<V, kRows, kVectors, 3>(count, offsets, x, row_step, weights, sum);
      } else if (columns->taps == 2) {
        filter_columns<V, kRows, kVectors, 2>(count, offsets, x, row_step, weights, sum);
      } else {
        filter_columns<V, kRows, kVectors, 1>(count, offsets, x, row_step, weights, sum);
      }
      offsets += count;
      weights += count * columns->taps;
      if (!columns->ends_chain) continue;
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) {
          T* const part = before[r] + v * V::kLanes;
          (later ? sum[r][v] + V::load(part) : sum[r][v]).store(part);
          sum[r][v] = V::zero();
        }
      later = true;
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      if (later) sum[r][v] = sum[r][v] + V::load(before[r] + v * V::kLanes);
      finish(sum[r][v]).store(out + r * out_row_step + v * V::kLanes);
    }
}

// Tiles that cover the columns, whole vectors, the last of them perhaps laid back over its neighbours.
template <class V, int kRows, int kVectors, int kTaps, class Finish>
inline __attribute__((always_inline)) void filter_strip(const DepthwiseTaps& taps,
                                                        const typename V::Scalar* x, int64_t row_step,
                                                        int64_t done, int64_t columns,
                                                        typename V::Scalar* out, int64_t out_row_step,
                                                        const Finish& finish) {
  constexpr int64_t kWidth = kVectors * V::kLanes;
  for (; done + kWidth <= columns; done += kWidth) {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) __builtin_prefetch(out + (kRows + r) * out_row_step + done, 1);
    filter_tile<V, kRows, kVectors, kTaps>(taps, x + done, row_step, out + done, out_row_step, finish);
  }
  if (done >= columns) return;
  if constexpr (kVectors > 1) {
    filter_strip<V, kRows, kVectors / 2, kTaps>(taps, x, row_step, done, columns, out, out_row_step, finish);
  } else {
    done = vector_start<V>(done, columns);
    filter_tile<V, kRows, 1, kTaps>(taps, x + done, row_step, out + done, out_row_step, finish);
  }
}

// A part of the rows: `strips` of kRows.
template <class V, int kRows, int kTaps, class Finish>
__attribute__((noinline)) void filter_strips_of(const DepthwiseTaps& taps, const typename V::Scalar* x,
                                                int64_t row_step, int64_t strips, int64_t columns,
                                                typename V::Scalar* out, int64_t out_row_step,
                                                const Finish finish) {
  for (; strips > 0; --strips, x += kRows * row_step, out += kRows * out_row_step)
    filter_strip<V, kRows, tile_vectors(kRows), kTaps>(taps, x, row_step, 0, columns, out, out_row_step,
                                                       finish);
}
template <class V, int kRows, class Finish>
void filter_strips(const DepthwiseTaps& taps, const typename V::Scalar* x, int64_t row_step, int64_t strips,
                   int64_t columns, typename V::Scalar* out, int64_t out_row_step, const Finish& finish) {
  const int alike = taps.count == 1 && !taps.columns->ends_chain ? taps.columns->taps : 0;
  static_assert(kTapsBelow == 3, "a case for each");
  if (alike == 3) {
    filter_strips_of<V, kRows, 3>(taps, x, row_step, strips, columns, out, out_row_step, finish);
  } else if (alike == 2) {
    filter_strips_of<V, kRows, 2>(taps, x, row_step, strips, columns, out, out_row_step, finish);
  } else if (alike == 1) {
    filter_strips_of<V, kRows, 1>(taps, x, row_step, strips, columns, out, out_row_step, finish);
  } else {
    filter_strips_of<V, kRows, 0>(taps, x, row_step, strips, columns, out, out_row_step, finish);
  }
}

// Stores the lanes of a vector that are left before `end`.
template <class V, class S>
inline __attribute__((always_inline)) void store_before(S* p, const S* end, V v) {
  if (end - p >= V::kLanes) return store_as(p, v);
  if (end > p) store_partial_as(p, static_cast<int>(end - p), v);
}

// Sums of `count` positions from `from` on, of one phase or of two that take turns, into a row of the result.
template <class V, int kPhases, class S, class Kind>
inline __attribute__((always_inline)) void finish_row(const DepthwiseFilter& p, int64_t row, int64_t from,
                                                      int64_t count, const typename V::Scalar* sums,
                                                      const typename V::Scalar* others, Kind kind, V bias) {
  using T = typename V::Scalar;
  S* const out = static_cast<S*>(p.out) + row * p.out_row_step;
  const T* const before = p.before ? static_cast<const T*>(p.before) + row * p.out_row_step : nullptr;
  const auto finish = [&](int64_t j, const auto& store) {
    const V a = V::load(sums + j);
    const int64_t i = kPhases * (from + j);
    if constexpr (kPhases == 1) {
      store(i, a);
    } else {
      __builtin_prefetch(out + kMostTileRows * p.out_row_step + i, 1);
      V low, high;
      interleave(a, V::load(others + j), &low, &high);
      store(i, low);
      store(i + V::kLanes, high);
    }
  };
  int64_t j = 0;
  if (!before)
    for (; j < count && kPhases * (from + j + V::kLanes) <= p.width; j += V::kLanes)
      finish(j, [&](int64_t i, V sum) { store_as(out + i, activate(kind, sum + bias)); });
  for (; j < count; j += V::kLanes)
    finish(j, [&](int64_t i, V sum) {
      if (before && i < p.width) sum = sum + V::load(before + i);
      store_before(out + i, out + p.width, activate(kind, sum + bias));
    });
}

// `strips` of kRows rows from `row` on.
template <class V, class S, int kRows>
void filter_part(const DepthwiseFilter& p, int64_t row, int64_t strips) {
  using T = typename V::Scalar;
  const T* x = static_cast<const T*>(p.rows.planes) + row * p.rows.row_step;
  if constexpr (std::is_same_v<S, T>) {
    const bool whole = p.phases == 1 && !p.before && p.rows.columns >= V::kLanes;
    if (whole && with_clamp<V>(p, [&](auto finish) {
          filter_strips<V, kRows>(p.taps[0], x, p.rows.row_step, strips, p.rows.columns,
                                  static_cast<T*>(p.out) + row * p.out_row_step, p.out_row_step, finish);
        }))
      return;
  }
  const V bias = p.bias ? V::all(*static_cast<const T*>(p.bias)) : V::zero();
  constexpr int64_t kPiece = 16 * V::kLanes;
  alignas(64) T sums[2][kRows * kPiece];
  for (int64_t strip = 0; strip < strips; ++strip, row += kRows, x += kRows * p.rows.row_step)
    for (int64_t j = 0; j < p.rows.columns; j += kPiece) {
      const int64_t left = p.rows.columns - j,
                    count = left < kPiece ? (left + V::kLanes - 1) / V::kLanes * V::kLanes : kPiece;
      for (int i = 0; i < p.phases; ++i)
        filter_strips<V, kRows>(p.taps[i], x + j, p.rows.row_step, 1, count, sums[i], kPiece, Plain{});
      with_activation_or_costly(p.activation, [&](auto kind) {
        for (int r = 0; r < kRows; ++r) {
          if (p.phases == 1) {
            finish_row<V, 1, S>(p, row + r, j, count, sums[0] + r * kPiece, nullptr, kind, bias);
          } else {
            finish_row<V, 2, S>(p, row + r, j, count, sums[0] + r * kPiece, sums[1] + r * kPiece, kind, bias);
          }
        }
      });
    }
}

template <class V, class S>
void filter_rows(const DepthwiseFilter& p) {
  if (p.rows.rows <= 0) return;
  using Part = void (*)(const DepthwiseFilter&, int64_t, int64_t);
  static constexpr Part part[kMostTileRows] = {filter_part<V, S, 1>, filter_part<V, S, 2>,
                                               filter_part<V, S, 3>, filter_part<V, S, 4>};
  // Strips of nearly as many rows each: the higher ones, then the lower ones.
  const int64_t strips = (p.rows.rows + kMostTileRows - 1) / kMostTileRows;
  const int64_t low = p.rows.rows / strips, higher = p.rows.rows % strips;
  if (higher > 0) part[low](p, 0, higher);
  part[low - 1](p, higher * (low + 1), strips - higher);
}

// Products of kRows rows of values at j, `load` giving the lanes that count.
template <class V, int kColumns, int kTaps, int kRows, class Load>
inline __attribute__((always_inline)) void correlate_vector(const DepthwiseCorrelation& p,
                                                            const int64_t* offsets, int64_t row, int64_t j,
                                                            V (&sum)[kColumns][kTaps], const Load& load) {
  using T = typename V::Scalar;
  const T* values = static_cast<const T*>(p.values) + row * p.value_row_step + j;
  const T* x = static_cast<const T*>(p.rows.planes) + row * p.rows.row_step + j;
  V value[kRows];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) value[r] = load(values + r * p.value_row_step);
#pragma GCC unroll 8
  for (int c = 0; c < kColumns; ++c)
#pragma GCC unroll 8
    for (int line = 0; line < kRows + kTaps - 1; ++line) {
      const V e = load(x + offsets[c] + line * p.rows.row_step);
#pragma GCC unroll 4
      for (int i = 0; i < kTaps; ++i)
        if (line >= i && line - i < kRows) sum[c][i] = fma(value[line - i], e, sum[c][i]);
    }
}

template <class V, int kColumns, int kTaps, int kRows>
inline __attribute__((always_inline)) void correlate_rows_of(const DepthwiseCorrelation& p,
                                                             const int64_t* offsets, int64_t row,
                                                             V (&sum)[kColumns][kTaps]) {
  using T = typename V::Scalar;
  int64_t j = 0;
  for (; j + V::kLanes <= p.rows.columns; j += V::kLanes)
    correlate_vector<V, kColumns, kTaps, kRows>(p, offsets, row, j, sum,
                                                [](const T* from) { return V::load(from); });
  const int rest = static_cast<int>(p.rows.columns - j);
  if (rest > 0)
    correlate_vector<V, kColumns, kTaps, kRows>(
        p, offsets, row, j, sum, [rest](const T* from) { return V::load_partial(from, rest); });
}

template <class V, int kColumns, int kTaps>
void correlate_columns(const DepthwiseCorrelation& p, const int64_t* offsets, typename V::Scalar* sums) {
  constexpr int kRows = 4;
  V sum[kColumns][kTaps];
#pragma GCC unroll 8
  for (int c = 0; c < kColumns; ++c)
#pragma GCC unroll 4
    for (int i = 0; i < kTaps; ++i) sum[c][i] = V::load(sums + (c * kTaps + i) * V::kLanes);
  int64_t row = 0;
  for (; row + kRows <= p.rows.rows; row += kRows)
    correlate_rows_of<V, kColumns, kTaps, kRows>(p, offsets, row, sum);
  for (; row < p.rows.rows; ++row) correlate_rows_of<V, kColumns, kTaps, 1>(p, offsets, row, sum);
#pragma GCC unroll 8
  for (int c = 0; c < kColumns; ++c)
#pragma GCC unroll 4
    for (int i = 0; i < kTaps; ++i) sum[c][i].store(sums + (c * kTaps + i) * V::kLanes);
}

// `taken` columns, at most kMost.
template <class V, int kTaps, int kMost>
void correlate_some(const DepthwiseCorrelation& p, const int64_t* offsets, int64_t taken,
                    typename V::Scalar* sums) {
  if constexpr (kMost > 1) {
    if (taken < kMost) return correlate_some<V, kTaps, kMost - 1>(p, offsets, taken, sums);
  }
  correlate_columns<V, kMost, kTaps>(p, offsets, sums);
}

// Columns of kTaps taps, in parts of nearly as many each: too few sums would wait for each other.
template <class V, int kTaps, int kMost>
void correlate_alike(const DepthwiseCorrelation& p, const int64_t* offsets, int64_t count,
                     typename V::Scalar* sums) {
  while (count > 0) {
    const int64_t parts = (count + kMost - 1) / kMost, taken = (count + parts - 1) / parts;
    correlate_some<V, kTaps, kMost>(p, offsets, taken, sums);
    offsets += taken;
    sums += taken * kTaps * V::kLanes;
    count -= taken;
  }
}

template <class V>
void correlate_rows(const DepthwiseCorrelation& p) {
  auto* sums = static_cast<typename V::Scalar*>(p.sums);
  const int64_t* offsets = p.taps.offsets;
  for (int64_t i = 0; i < p.taps.count; ++i) {
    const TapColumns& columns = p.taps.columns[i];
    if (columns.taps == 3) {
      correlate_alike<V, 3, 3>(p, offsets, columns.count, sums);
    } else if (columns.taps == 2) {
      correlate_alike<V, 2, 4>(p, offsets, columns.count, sums);
    } else {
      correlate_alike<V, 1, 8>(p, offsets, columns.count, sums);
    }
    offsets += columns.count;
    sums += columns.count * columns.taps * V::kLanes;
  }
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
