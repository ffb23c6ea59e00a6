// The matrix-product micro-kernel (contracts/products.h): an outer-product tile held in registers.
//
//   for k < depth:  C[m][:] += A[m][k] * B[k][:]      m < tile_rows, ':' = one or two or three vectors
//
// B's rows lie where a table says, so the taps of a convolution can be shifts within one copy of the pixels.
// Every tile height from 1 to mr is compiled, so the last rows of a matrix cost no more than they hold.
// Each element's sum is one fused-multiply-add chain over k, whatever the tile, so its bits do not depend on
// the blocking of rows and columns. The chain starts from zero and is added to C at its end: long reductions
// are sums of chains of at most row_pitch terms, which keeps their rounding error as small as a BLAS's.
#pragma once

#include "cpu/contracts/products.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

template <class V, int kVectors, int kPitch, int kRows, int kUsed>
void multiply_tile(const typename V::Scalar* a, const typename V::Scalar* b, const int64_t* b_offset,
                   typename V::Scalar* c, int64_t depth, bool accumulate) {
  constexpr int kWidth = kVectors * V::kLanes;
  V acc[kRows][kUsed];
#pragma GCC unroll 16
  for (int m = 0; m < kRows; ++m)
#pragma GCC unroll 4
    for (int j = 0; j < kUsed; ++j) acc[m][j] = V::zero();
  constexpr int64_t kLine = 64 / sizeof(typename V::Scalar);
  for (int64_t line = 0; line < depth; line += kLine) {
    // The next tile's rows are short streams that no hardware prefetcher follows.
#pragma GCC unroll 16
    for (int m = 0; m < kRows; ++m) __builtin_prefetch(a + (kRows + m) * kPitch);
    const int64_t end = line + kLine < depth ? line + kLine : depth;
#pragma GCC unroll 2
    for (int64_t k = line; k < end; ++k) {
      V row[kUsed];
#pragma GCC unroll 4
      for (int j = 0; j < kUsed; ++j) row[j] = V::load(b + b_offset[k] + j * V::kLanes);
#pragma GCC unroll 16
      for (int m = 0; m < kRows; ++m) {
        const V x = V::all(a[m * kPitch]);
#pragma GCC unroll 4
        for (int j = 0; j < kUsed; ++j) acc[m][j] = fma(x, row[j], acc[m][j]);
      }
      ++a;
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < kRows; ++m)
#pragma GCC unroll 4
    for (int j = 0; j < kUsed; ++j) {
      typename V::Scalar* to = c + m * kWidth + j * V::kLanes;
      if (accumulate) acc[m][j] = acc[m][j] + V::load(to);
      acc[m][j].store(to);
    }
}

template <class V>
using TileFunction = void (*)(const typename V::Scalar*, const typename V::Scalar*, const int64_t*,
                              typename V::Scalar*, int64_t, bool);

// The tile functions of heights 1..kRows for one number of used vectors, as an array.
template <class V, int kVectors, int kPitch, int kUsed, int kRows>
struct TileTable {
  TileFunction<V> of_rows[kRows + 1];
  template <int kHeight = 1>
  constexpr void fill() {
    of_rows[kHeight] = multiply_tile<V, kVectors, kPitch, kHeight, kUsed>;
    if constexpr (kHeight < kRows) fill<kHeight + 1>();
  }
  constexpr TileTable() : of_rows{} { fill(); }
};

template <class V, int kRows, int kVectors, int kPitch>
void multiply_panel(const PanelProduct& p) {
  using T = typename V::Scalar;
  constexpr int kWidth = kVectors * V::kLanes;
  static constexpr TileTable<V, kVectors, kPitch, 1, kRows> narrow;
  static constexpr TileTable<V, kVectors, kPitch, kVectors, kRows> wide;
  const auto& table = p.columns <= V::kLanes ? narrow.of_rows : wide.of_rows;
  const T* a = static_cast<const T*>(p.a);
  T* c = static_cast<T*>(p.c);
  for (int64_t m = 0; m < p.rows; m += p.tile_rows) {
    const int64_t left = p.rows - m;
    const int rows = left < p.tile_rows ? static_cast<int>(left) : p.tile_rows;
    table[rows](a + m * kPitch, static_cast<const T*>(p.b), p.b_offset, c + m * kWidth, p.depth,
                p.accumulate);
  }
}

template <class V, int kRows, int kVectors, int kPitch>
constexpr GemmKernels gemm_kernels() {
  return {kRows, kVectors * V::kLanes, kPitch, multiply_panel<V, kRows, kVectors, kPitch>};
}

// The peak rate of independent fused multiply-adds: the roof that the benchmarks hold kernels against.
template <class V>
double fma_loop(int64_t iterations) {
  constexpr int kChains = 12;
  V acc[kChains];
  for (int i = 0; i < kChains; ++i) acc[i] = V::all(static_cast<typename V::Scalar>(i));
  V x = V::all(typename V::Scalar(0.999)), y = V::all(typename V::Scalar(1e-3));
  for (int64_t n = 0; n < iterations; ++n) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) acc[i] = fma(acc[i], x, y);
  }
  V sum = acc[0];
  for (int i = 1; i < kChains; ++i) sum = sum + acc[i];
  volatile typename V::Scalar sink = reduce_add(sum);
  (void)sink;
  return 2.0 * kChains * V::kLanes * static_cast<double>(iterations);
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
