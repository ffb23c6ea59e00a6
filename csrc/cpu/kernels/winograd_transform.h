// Winograd's minimal filtering (Winograd 1980; Lavin & Gray, "Fast Algorithms for Convolutional Neural
// Networks", 2016, section 4), kernel size 3, tiles of m = 2 or 4 outputs along each of two axes:
//
//   y = A^T [ (G g G^T) * (B^T d B) ] A          d: (m+2)^2 inputs, g: 3^2 taps, y: m^2 outputs
//
// and, with the same matrices transposed, the gradient of its filter:
//
//   dg = G^T [ (A dy A^T) * (B^T d B) ] G
//
// Here are the five linear maps. Each reads and writes *streams*: element (i, j) of every matrix is a stream
// of its own, and vectors run along the streams. The interpolation points are 0, 1, -1 and infinity for m =
// 2, and 2, -2 besides for m = 4.
#pragma once

#include "cpu/contracts/winograd.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

template <int m>
struct Winograd;

template <>
struct Winograd<2> {
  struct Input {  // B^T
    static constexpr int kIn = 4, kOut = 4;
    template <class V>
    static void apply(const V* d, V* t) {
      t[0] = d[0] - d[2];
      t[1] = d[1] + d[2];
      t[2] = d[2] - d[1];
      t[3] = d[1] - d[3];
    }
  };
  struct Filter {  // G
    static constexpr int kIn = 3, kOut = 4;
    template <class V>
    static void apply(const V* g, V* t) {
      const V half = V::all(typename V::Scalar(0.5)), outer = g[0] + g[2];
      t[0] = g[0];
      t[1] = (outer + g[1]) * half;
      t[2] = (outer - g[1]) * half;
      t[3] = g[2];
    }
  };
  struct FilterAdjoint {  // G^T
    static constexpr int kIn = 4, kOut = 3;
    template <class V>
    static void apply(const V* t, V* g) {
      const V half = V::all(typename V::Scalar(0.5)), sum = (t[1] + t[2]) * half;
      g[0] = t[0] + sum;
      g[1] = (t[1] - t[2]) * half;
      g[2] = sum + t[3];
    }
  };
  struct Output {  // A^T
    static constexpr int kIn = 4, kOut = 2;
    template <class V>
    static void apply(const V* t, V* y) {
      y[0] = t[0] + (t[1] + t[2]);
      y[1] = (t[1] - t[2]) - t[3];
    }
  };
  struct OutputAdjoint {  // A
    static constexpr int kIn = 2, kOut = 4;
    template <class V>
    static void apply(const V* y, V* t) {
      t[0] = y[0];
      t[1] = y[0] + y[1];
      t[2] = y[0] - y[1];
      t[3] = V::zero() - y[1];
    }
  };
};

template <>
struct Winograd<4> {
  struct Input {
    static constexpr int kIn = 6, kOut = 6;
    template <class V>
    static void apply(const V* d, V* t) {
      using T = typename V::Scalar;
      const V two = V::all(T(2)), four = V::all(T(4)), five = V::all(T(5));
      const V even = fnma(four, d[2], d[4]), odd = fnma(four, d[1], d[3]);
      const V even2 = d[4] - d[2], odd2 = (d[3] - d[1]) * two;
      t[0] = fma(four, d[0], fnma(five, d[2], d[4]));
      t[1] = even + odd;
      t[2] = even - odd;
      t[3] = even2 + odd2;
      t[4] = even2 - odd2;
      t[5] = fma(four, d[1], fnma(five, d[3], d[5]));
    }
  };
  struct Filter {
    static constexpr int kIn = 3, kOut = 6;
    template <class V>
    static void apply(const V* g, V* t) {
      using T = typename V::Scalar;
      const V sixth = V::all(T(-1.0 / 6)), far = V::all(T(1.0 / 24));
      const V outer = g[0] + g[2], distant = fma(V::all(T(4)), g[2], g[0]), twice = g[1] + g[1];
      t[0] = g[0] * V::all(T(0.25));
      t[1] = (outer + g[1]) * sixth;
      t[2] = (outer - g[1]) * sixth;
      t[3] = (distant + twice) * far;
      t[4] = (distant - twice) * far;
      t[5] = g[2];
    }
  };
  struct FilterAdjoint {
    static constexpr int kIn = 6, kOut = 3;
    template <class V>
    static void apply(const V* t, V* g) {
      using T = typename V::Scalar;
      const V sixth = V::all(T(-1.0 / 6)), far = V::all(T(1.0 / 24)), twelfth = V::all(T(1.0 / 12));
      const V near_sum = (t[1] + t[2]) * sixth, far_sum = (t[3] + t[4]) * far;
      g[0] = fma(V::all(T(0.25)), t[0], near_sum + far_sum);
      g[1] = fma(twelfth, t[3] - t[4], (t[1] - t[2]) * sixth);
      g[2] = fma(V::all(T(4)), far_sum, near_sum + t[5]);
    }
  };
  struct Output {
    static constexpr int kIn = 6, kOut = 4;
    template <class V>
    static void apply(const V* t, V* y) {
      using T = typename V::Scalar;
      const V near_sum = t[1] + t[2], near_difference = t[1] - t[2];
      const V far_sum = t[3] + t[4], far_difference = t[3] - t[4];
      y[0] = t[0] + (near_sum + far_sum);
      y[1] = fma(V::all(T(2)), far_difference, near_difference);
      y[2] = fma(V::all(T(4)), far_sum, near_sum);
      y[3] = fma(V::all(T(8)), far_difference, near_difference) + t[5];
    }
  };
  struct OutputAdjoint {
    static constexpr int kIn = 4, kOut = 6;
    template <class V>
    static void apply(const V* y, V* t) {
      using T = typename V::Scalar;
      const V even = y[0] + y[2], odd = y[1] + y[3];
      const V far_even = fma(V::all(T(4)), y[2], y[0]), far_odd = fma(V::all(T(8)), y[3], y[1] + y[1]);
      t[0] = y[0];
      t[1] = even + odd;
      t[2] = even - odd;
      t[3] = far_even + far_odd;
      t[4] = far_even - far_odd;
      t[5] = y[3];
    }
  };
};

// Map applied to both axes of one vector of every stream.
template <class Map, class V, class Load, class Store>
inline __attribute__((always_inline)) void map_both_axes(const Load& load, const Store& store) {
  V half[Map::kOut][Map::kIn];
#pragma GCC unroll 6
  for (int j = 0; j < Map::kIn; ++j) {
    V column[Map::kIn], mapped[Map::kOut];
#pragma GCC unroll 6
    for (int i = 0; i < Map::kIn; ++i) column[i] = load(i * Map::kIn + j);
    Map::apply(column, mapped);
#pragma GCC unroll 6
    for (int i = 0; i < Map::kOut; ++i) half[i][j] = mapped[i];
  }
#pragma GCC unroll 6
  for (int i = 0; i < Map::kOut; ++i) {
    V mapped[Map::kOut];
    Map::apply(half[i], mapped);
    store(i, mapped);
  }
}

template <class V, class Map>
void map_streams(const WinogradStreams& s) {
  using T = typename V::Scalar;
  for (int64_t line = 0; line < s.lines; ++line) {
    const T* in = static_cast<const T*>(s.in) + line * s.in_line;
    T* out = static_cast<T*>(s.out) + line * s.out_line;
    for (int64_t n = 0; n < s.count; n += V::kLanes)
      map_both_axes<Map, V>([&](int stream) { return V::load(in + s.in_offset[stream] + n); },
                            [&](int i, const V* mapped) {
#pragma GCC unroll 6
                              for (int j = 0; j < Map::kOut; ++j)
                                mapped[j].store(out + (i * Map::kOut + j) * s.out_stride + n);
                            });
  }
}

// Streams of one row of outputs, element by element: y0[0] y1[0] .. y0[1] y1[1] ..
template <class V>
void interleave_row(const V (&y)[2], V (&row)[2]) {
  interleave(y[0], y[1], &row[0], &row[1]);
}
template <class V>
void interleave_row(const V (&y)[4], V (&row)[4]) {
  V even[2], odd[2];
  interleave(y[0], y[2], &even[0], &even[1]);
  interleave(y[1], y[3], &odd[0], &odd[1]);
  interleave(even[0], odd[0], &row[0], &row[1]);
  interleave(even[1], odd[1], &row[2], &row[3]);
}

// Output for panels whose columns are tiles side by side: the m outputs of a tile's row become neighbours, in
// m panels of the same width.
template <class V, class Map, int kWidth>
void map_panels(const WinogradStreams& s) {
  using T = typename V::Scalar;
  constexpr int m = Map::kOut;
  const T* in = static_cast<const T*>(s.in);
  for (int64_t line = 0; line < s.lines; ++line) {
    T* out = static_cast<T*>(s.out) + line * kWidth;
    for (int n = 0; n < kWidth; n += V::kLanes)
      map_both_axes<Map, V>(
          [&](int stream) { return V::load(in + s.in_offset[stream] + line * kWidth + n); },
          [&](int i, const V* mapped) {
            V y[m], row[m];
#pragma GCC unroll 4
            for (int j = 0; j < m; ++j) y[j] = mapped[j];
            interleave_row(y, row);
#pragma GCC unroll 4
            for (int j = 0; j < m; ++j) {
              const int column = m * n + j * V::kLanes;
              row[j].store(out + i * s.out_stride + column / kWidth * s.out_line + column % kWidth);
            }
          });
  }
}

template <class V, int m, int kWidth>
constexpr WinogradKernels winograd_kernels() {
  using W = Winograd<m>;
  return {map_streams<V, typename W::Input>,         map_streams<V, typename W::Filter>,
          map_streams<V, typename W::Output>,        map_panels<V, typename W::Output, kWidth>,
          map_streams<V, typename W::OutputAdjoint>, map_streams<V, typename W::FilterAdjoint>};
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
