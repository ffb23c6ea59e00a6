// The matrix-product micro-kernel (contracts/products.h): an outer-product tile held in registers.
//
//   for k < depth:  C[m][:] += A[m][k] * B[k][:]      m < tile_rows, ':' = one or two or three vectors
//
// B's rows lie where a table says, so the taps of a convolution can be shifts within one copy of the pixels.
// Every tile height from 1 to mr is compiled, so the last rows of a matrix cost no more than they hold.
// Each element's sum is made of fused-multiply-add chains over k, whatever the tile, so its bits do not
// depend on the blocking of rows and columns. A chain starts from zero and is added to C at its end, which is
// still in L1 then: short chains keep the rounding error of long reductions as small as a BLAS's.
#pragma once

#include "cpu/contracts/products.h"
#include "cpu/kernels/activations.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

template <class T>
T* row_of(const PanelStore& store, int64_t m) {
  return static_cast<T*>(store.out) + store.row_offset[m];
}

template <class V, int kWidth, int kRows, int kUsed>
inline __attribute__((always_inline)) void store_tile(const V (&tile)[kRows][kUsed], typename V::Scalar* c) {
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < kUsed; ++j) tile[i][j].store(c + i * kWidth + j * V::kLanes);
}

// Rows [m, m + kRows) of a panel.
template <class V, int kVectors, int kPitch, int kRows, int kUsed>
void multiply_tile(const PanelProduct& p, int64_t m) {
  using T = typename V::Scalar;
  constexpr int kWidth = kVectors * V::kLanes;
  const T* a = static_cast<const T*>(p.a) + m * kPitch;
  const T* b = static_cast<const T*>(p.b);
  T* c = static_cast<T*>(p.c) + m * kWidth;
  V acc[kRows][kUsed];
  constexpr int64_t kLine = 64 / sizeof(T);
  for (int64_t first = 0, last;; first = last) {
    last = p.chain < p.depth - first ? first + p.chain : p.depth;
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
      for (int j = 0; j < kUsed; ++j) acc[i][j] = V::zero();
    for (int64_t line = first; line < last; line += kLine) {
      // The next tile's rows are short streams that no hardware prefetcher follows.
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) __builtin_prefetch(a + (kRows + i) * kPitch);
      const int64_t end = line + kLine < last ? line + kLine : last;
#pragma GCC unroll 2
      for (int64_t k = line; k < end; ++k) {
        V row[kUsed];
#pragma GCC unroll 4
        for (int j = 0; j < kUsed; ++j) row[j] = V::load(b + p.b_offset[k] + j * V::kLanes);
#pragma GCC unroll 16
        for (int i = 0; i < kRows; ++i) {
          const V x = V::all(a[i * kPitch]);
#pragma GCC unroll 4
          for (int j = 0; j < kUsed; ++j) acc[i][j] = fma(x, row[j], acc[i][j]);
        }
        ++a;
      }
    }
    if (p.accumulate || first > 0) {
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < kUsed; ++j) acc[i][j] = acc[i][j] + V::load(c + i * kWidth + j * V::kLanes);
    }
    if (last >= p.depth) break;
    store_tile<V, kWidth>(acc, c);
  }
  if (!p.store) return store_tile<V, kWidth>(acc, c);
  const PanelStore& store = *p.store;
  if (const T* bias = static_cast<const T*>(store.row_bias)) {
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
      for (int j = 0; j < kUsed; ++j) acc[i][j] = acc[i][j] + V::all(bias[m + i]);
  }
  if (const T* bias = static_cast<const T*>(store.col_bias)) {
#pragma GCC unroll 4
    for (int j = 0; j < kUsed; ++j) {
      const V x = V::load(bias + j * V::kLanes);
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) acc[i][j] = acc[i][j] + x;
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
    T* to = row_of<T>(store, m + i);
#pragma GCC unroll 4
    for (int j = 0; j < kUsed; ++j) acc[i][j].store(to + j * V::kLanes);
  }
}

template <class V>
using TileFunction = void (*)(const PanelProduct&, int64_t);

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

// The lines that rows [m, end) will be stored in.
template <class T>
void ask_for_rows(const PanelStore& store, int64_t m, int64_t end, int width) {
  for (; m < end; ++m) {
    const T* row = row_of<T>(store, m);
    __builtin_prefetch(row, 1);
    __builtin_prefetch(row + width - 1, 1);
  }
}

// A tile that was just stored. A whole row at once: what vectors wait for overlaps.
template <class V, int kWidth>
__attribute__((noinline)) void activate_rows(const PanelStore& store, int64_t m, int64_t end) {
  constexpr int kVectors = kWidth / V::kLanes;
  with_activation(store.activation, [&](auto kind) {
    for (; m < end; ++m) {
      auto* row = row_of<typename V::Scalar>(store, m);
      V x[kVectors];
#pragma GCC unroll 4
      for (int n = 0; n < kVectors; ++n) x[n] = activate(kind, V::load(row + n * V::kLanes));
#pragma GCC unroll 4
      for (int n = 0; n < kVectors; ++n) x[n].store(row + n * V::kLanes);
    }
  });
}

template <class V, int kRows, int kVectors, int kPitch>
void multiply_panel(const PanelProduct& p) {
  using T = typename V::Scalar;
  constexpr int kWidth = kVectors * V::kLanes;
  static constexpr TileTable<V, kVectors, kPitch, 1, kRows> narrow;
  static constexpr TileTable<V, kVectors, kPitch, kVectors, kRows> wide;
  const auto& table = p.columns <= V::kLanes ? narrow.of_rows : wide.of_rows;
  const int all = static_cast<int>(p.rows), tiles = (all + p.tile_rows - 1) / p.tile_rows;
  // Tiles of few rows can't hide the latency of a multiply-add: rather several smaller by one than a short
  // last.
  int rows = p.tile_rows, larger = 0;
  if (tiles * rows - all > rows - kRows * 2 / 3) {
    rows = all / tiles;
    larger = all % tiles;
  }
  const char* stretch = p.ahead.first;
  int64_t stretches = p.ahead.count;
  const int64_t stretches_of_tile = stretches / tiles + 1;
  for (int m = 0, tile = 0; m < all; ++tile) {
    const int next = m + rows + (tile < larger), end = next < all ? next : all;
    for (int64_t i = 0; i < stretches_of_tile && stretches > 0; ++i, --stretches, stretch += p.ahead.pitch)
      for (int64_t byte = 0; byte < p.ahead.bytes; byte += 64) __builtin_prefetch(stretch + byte);
    if (p.store) ask_for_rows<T>(*p.store, m, end, kWidth);
    table[end - m](p, m);
    if (p.store && p.store->activation != Activation::none) activate_rows<V, kWidth>(*p.store, m, end);
    m = end;
  }
}

template <class V, int kRows, int kVectors, int kPitch, int kShortChainRows>
constexpr GemmKernels gemm_kernels() {
  return {kRows, kVectors * V::kLanes, kShortChainRows, kPitch, multiply_panel<V, kRows, kVectors, kPitch>};
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
