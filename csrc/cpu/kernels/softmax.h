// Softmax of contiguous rows, its gradient, and the cross-entropy that is made of it
// (contracts/layers.h).
//
//   y_j = exp(x_j - m) / sum over i of exp(x_i - m),   m = max x
//   dx_j = y_j (dy_j - sum over i of dy_i y_i)
//
// A row is read a second time for its result, out of the cache, rather than held in a storage type that would
// round it.
#pragma once

#include "cpu/contracts/layers.h"
#include "cpu/kernels/vec_math.h"
#include "cpu/kernels/vector_loop.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

// NaN may be lost here, but not in the sum of exponentials that follows.
template <class V, class S>
typename V::Scalar largest(const S* x, int64_t count) {
  using T = typename V::Scalar;
  const V lowest = V::all(-Constants<V>::kInfinity);
  V most = lowest;
  for_each_vector<V>(
      count, [&](int64_t j, auto lanes) { most = max(most, lanes.padded(lanes.load(x + j), lowest)); });
  T lanes[V::kLanes], m = -Constants<V>::kInfinity;
  most.store(lanes);
  for (int i = 0; i < V::kLanes; ++i) m = lanes[i] > m ? lanes[i] : m;
  return m;
}

template <class V, class S>
void softmax_rows(const void* from, void* to, int64_t rows, int64_t cols) {
  using T = typename V::Scalar;
  const S* x = static_cast<const S*>(from);
  S* y = static_cast<S*>(to);
  for (int64_t i = 0; i < rows; ++i, x += cols, y += cols) {
    const V m = V::all(largest<V>(x, cols));
    const double sum = sum_blocks<V>(cols, [&](int64_t j, auto lanes) { return exp(lanes.load(x + j) - m); });
    const V inverse = V::all(static_cast<T>(1 / sum));
    for_each_vector<V>(
        cols, [&](int64_t j, auto lanes) { lanes.store(y + j, exp(lanes.load(x + j) - m) * inverse); });
  }
}

template <class V, class S>
void softmax_grad_rows(const void* upstream, const void* result, void* to, int64_t rows, int64_t cols) {
  using T = typename V::Scalar;
  const S* dy = static_cast<const S*>(upstream);
  const S* y = static_cast<const S*>(result);
  S* dx = static_cast<S*>(to);
  for (int64_t i = 0; i < rows; ++i, dy += cols, y += cols, dx += cols) {
    const V dot = V::all(static_cast<T>(
        sum_blocks<V>(cols, [&](int64_t j, auto lanes) { return lanes.load(dy + j) * lanes.load(y + j); })));
    for_each_vector<V>(cols, [&](int64_t j, auto lanes) {
      lanes.store(dx + j, lanes.load(y + j) * (lanes.load(dy + j) - dot));
    });
  }
}

template <class V, class S>
void cross_entropy_rows(const CrossEntropyRows& r) {
  using T = typename V::Scalar;
  const S* x = static_cast<const S*>(r.logits);
  const S* t = static_cast<const S*>(r.targets);
  S* dx = static_cast<S*>(r.gradient);
  const double own = 1 - r.smoothing, even = r.smoothing / static_cast<double>(r.cols);
  const V own_scaled = V::all(static_cast<T>(own * r.scale)),
          even_scaled = V::all(static_cast<T>(even * r.scale));
  for (int64_t i = 0; i < r.rows; ++i, x += r.cols, dx += r.cols) {
    const V m = V::all(largest<V>(x, r.cols));
    const double sum_exp =
        sum_blocks<V>(r.cols, [&](int64_t j, auto lanes) { return exp(lanes.load(x + j) - m); });
    double weight = 1, dot = 0;
    if (t) {
      weight = sum_blocks<V>(r.cols, [&](int64_t j, auto lanes) { return lanes.load(t + j); });
      dot = sum_blocks<V>(r.cols,
                          [&](int64_t j, auto lanes) { return lanes.load(t + j) * (lanes.load(x + j) - m); });
      weight = own * weight + r.smoothing;
    }
    const V factor = V::all(static_cast<T>(weight * r.scale / sum_exp));
    const auto gradient = [&](V logit) { return fma(exp(logit - m), factor, V::zero() - even_scaled); };
    if (t) {
      for_each_vector<V>(r.cols, [&](int64_t j, auto lanes) {
        lanes.store(dx + j, gradient(lanes.load(x + j)) - own_scaled * lanes.load(t + j));
      });
      t += r.cols;
    } else {
      for_each_vector<V>(r.cols,
                         [&](int64_t j, auto lanes) { lanes.store(dx + j, gradient(lanes.load(x + j))); });
      const int64_t label = r.labels[i];
      const FirstLanes<V> one{1};
      const V target = one.load(x + label);
      one.store(dx + label, gradient(target) - own_scaled);
      T lanes[V::kLanes];
      (target - m).store(lanes);
      dot = static_cast<double>(lanes[0]);
    }
    dot *= own;
    if (r.smoothing != 0)
      dot += even * sum_blocks<V>(r.cols, [&](int64_t j, auto lanes) { return lanes.load(x + j) - m; });
    r.terms[i] = {sum_exp, weight, dot};
  }
}

template <class V, class S>
constexpr void fill_softmax_kernels(SoftmaxKernels& k, Dtype t) {
  const int i = static_cast<int>(t);
  k.softmax[i] = softmax_rows<V, S>;
  k.softmax_grad[i] = softmax_grad_rows<V, S>;
  k.cross_entropy[i] = cross_entropy_rows<V, S>;
}

constexpr SoftmaxKernels softmax_kernels() {
  SoftmaxKernels k{};
  fill_softmax_kernels<VecF32, float>(k, Dtype::float32);
  fill_softmax_kernels<VecF64, double>(k, Dtype::float64);
  fill_softmax_kernels<VecF32, Float16>(k, Dtype::float16);
  fill_softmax_kernels<VecF32, BFloat16>(k, Dtype::bfloat16);
  return k;
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
