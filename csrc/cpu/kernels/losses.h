// Elementwise losses and their gradients by the prediction (LossKernels in contracts/layers.h).
//
//   binary cross-entropy of a logit z   z > 0 ? z (1 - t) + log(1 + exp(-z)) : -z t + log(1 + exp(z)),
//   sigmoid(z) - t squared error                       (p - t)^2, 2 (p - t)
#pragma once

#include "cpu/contracts/layers.h"
#include "cpu/kernels/vec_math.h"
#include "cpu/kernels/vector_loop.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

template <class V, class S>
double binary_cross_entropy(const void* logits, const void* targets, void* gradient, double scale,
                            int64_t count) {
  using T = typename V::Scalar;
  const S* z = static_cast<const S*>(logits);
  const S* t = static_cast<const S*>(targets);
  S* dz = static_cast<S*>(gradient);
  const V one = V::all(T(1)), factor = V::all(static_cast<T>(scale));
  return sum_blocks<V>(count, [&](int64_t j, auto lanes) {
    const V logit = lanes.load(z + j), target = lanes.load(t + j);
    const auto positive = V::zero() < logit;
    const V e = exp(V::zero() - abs(logit));
    const V probability = select(positive, one, e) / (one + e);
    lanes.store(dz + j, (probability - target) * factor);
    return fma(abs(logit), select(positive, one - target, target), log1p_unit(e));
  });
}

template <class V, class S>
double squared_error(const void* prediction, const void* target, void* gradient, double scale,
                     int64_t count) {
  using T = typename V::Scalar;
  const S* p = static_cast<const S*>(prediction);
  const S* t = static_cast<const S*>(target);
  S* dp = static_cast<S*>(gradient);
  const V factor = V::all(static_cast<T>(2 * scale));
  return sum_blocks<V>(count, [&](int64_t j, auto lanes) {
    const V d = lanes.load(p + j) - lanes.load(t + j);
    lanes.store(dp + j, d * factor);
    return d * d;
  });
}

template <class V, class S>
constexpr void fill_loss_kernels(LossKernels& k, Dtype t) {
  const int i = static_cast<int>(t);
  k.binary_cross_entropy[i] = binary_cross_entropy<V, S>;
  k.squared_error[i] = squared_error<V, S>;
}

constexpr LossKernels loss_kernels() {
  LossKernels k{};
  fill_loss_kernels<VecF32, float>(k, Dtype::float32);
  fill_loss_kernels<VecF64, double>(k, Dtype::float64);
  fill_loss_kernels<VecF32, Float16>(k, Dtype::float16);
  fill_loss_kernels<VecF32, BFloat16>(k, Dtype::bfloat16);
  return k;
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
