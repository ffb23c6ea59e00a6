// Local response normalisation over channels (ResponseNormBlock in contracts/layers.h).
//
//   scale_c = k + alpha * sum of x_i^2             over the window i = c - before ... c - before + window - 1
//   y_c     = x_c * scale_c^-beta
//   dx_c    = dy_c * scale_c^-beta - 2 alpha beta x_c * sum of dy_i y_i / scale_i    over the mirrored window
//
// First the terms under the sum go to `terms`, whose first term belongs to channel -before and whose rims the
// caller has zeroed; then each window is summed afresh. That costs far less than the power, and unlike a
// running sum, from which what has left the window must be taken away again, it can't lose digits or keep an
// infinity. Two layouts: a row is a channel and `step` the length of a row of terms, or the columns of one
// row are the channels and `step` is 1.
#pragma once

#include "cpu/contracts/layers.h"
#include "cpu/kernels/vec_math.h"
#include "cpu/kernels/vector_loop.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

// The sums of the windows of the elements from j on; `terms` is where the window of element 0 starts.
template <class V, class Lanes>
V sum_window(const typename V::Scalar* terms, int64_t step, int64_t window, int64_t j, Lanes lanes) {
  V sum = V::zero();
  for (int64_t i = 0; i < window; ++i) sum = sum + lanes.load(terms + i * step + j);
  return sum;
}

template <class V, class S>
void response_norm(const ResponseNormBlock& b) {
  using T = typename V::Scalar;
  T* terms = static_cast<T*>(b.terms);
  const S* x = static_cast<const S*>(b.x);
  S* scale = static_cast<S*>(b.scale);
  S* y = static_cast<S*>(b.out);
  for (int64_t i = 0; i < b.rows; ++i) {
    for_each_vector<V>(b.cols, [&](int64_t j, auto lanes) {
      const V v = lanes.load(x + i * b.row_stride + j);
      lanes.store(terms + (b.before + i) * b.step + j, v * v);
    });
  }
  const V k = V::all(static_cast<T>(b.k)), alpha = V::all(static_cast<T>(b.alpha));
  for (int64_t i = 0; i < b.rows; ++i) {
    for_each_vector<V>(b.cols, [&](int64_t j, auto lanes) {
      const int64_t at = i * b.row_stride + j;
      const V s = fma(alpha, sum_window<V>(terms + i * b.step, b.step, b.window, j, lanes), k);
      lanes.store(scale + at, s);
      lanes.store(y + at, lanes.load(x + at) * pow_nonnegative(s, static_cast<T>(-b.beta)));
    });
  }
}

template <class V, class S>
void response_norm_grad(const ResponseNormBlock& b) {
  using T = typename V::Scalar;
  T* terms = static_cast<T*>(b.terms);
  const S* dy = static_cast<const S*>(b.dy);
  const S* x = static_cast<const S*>(b.x);
  const S* y = static_cast<const S*>(b.y);
  const S* scale = static_cast<const S*>(b.scale);
  S* dx = static_cast<S*>(b.out);
  for (int64_t i = 0; i < b.rows; ++i) {
    for_each_vector<V>(b.cols, [&](int64_t j, auto lanes) {
      const int64_t at = i * b.row_stride + j;
      lanes.store(terms + (b.before + i) * b.step + j,
                  lanes.load(dy + at) * lanes.load(y + at) / lanes.load(scale + at));
    });
  }
  const V factor = V::all(static_cast<T>(2 * b.alpha * b.beta));
  for (int64_t i = 0; i < b.rows; ++i) {
    for_each_vector<V>(b.cols, [&](int64_t j, auto lanes) {
      const int64_t at = i * b.row_stride + j;
      const V sum = sum_window<V>(terms + i * b.step, b.step, b.window, j, lanes);
      const V direct = lanes.load(dy + at) * pow_nonnegative(lanes.load(scale + at), static_cast<T>(-b.beta));
      lanes.store(dx + at, fnma(factor * lanes.load(x + at), sum, direct));
    });
  }
}

template <class V, class S>
constexpr void fill_response_norm_kernels(ResponseNormKernels& k, Dtype t) {
  const int i = static_cast<int>(t);
  k.normalise[i] = response_norm<V, S>;
  k.gradient[i] = response_norm_grad<V, S>;
}

constexpr ResponseNormKernels response_norm_kernels() {
  ResponseNormKernels k{};
  fill_response_norm_kernels<VecF32, float>(k, Dtype::float32);
  fill_response_norm_kernels<VecF64, double>(k, Dtype::float64);
  fill_response_norm_kernels<VecF32, Float16>(k, Dtype::float16);
  fill_response_norm_kernels<VecF32, BFloat16>(k, Dtype::bfloat16);
  return k;
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
