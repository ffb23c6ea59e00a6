// Maps of contiguous arrays, element by element (contracts/layers.h):
//
//   activation       y = f(x)
//   activation_grad  dx = dy * f'(x or y)
//   add              y = f(a + b)
//   scale_mask       y = x * mask * scale
//   narrow           compute type to storage type
#pragma once

#include "cpu/contracts/layers.h"
#include "cpu/kernels/activations.h"
#include "cpu/kernels/vector_loop.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

template <class V, class S>
void apply_activation(Activation kind, const void* from, void* to, int64_t count) {
  const S* x = static_cast<const S*>(from);
  S* y = static_cast<S*>(to);
  with_activation(kind, [&](auto of) {
    for_each_vector<V>(count,
                       [&](int64_t j, auto lanes) { lanes.store(y + j, activate(of, lanes.load(x + j))); });
  });
}

template <class V, class S>
void apply_activation_grad(Activation kind, const void* upstream, const void* x_or_y, void* to,
                           int64_t count) {
  const S* dy = static_cast<const S*>(upstream);
  const S* at = static_cast<const S*>(x_or_y);
  S* dx = static_cast<S*>(to);
  with_activation(kind, [&](auto of) {
    for_each_vector<V>(count, [&](int64_t j, auto lanes) {
      lanes.store(dx + j, lanes.load(dy + j) * activation_slope(of, lanes.load(at + j)));
    });
  });
}

template <class V, class S>
void add_arrays(Activation kind, const void* first, const void* second, void* to, int64_t count) {
  const S* a = static_cast<const S*>(first);
  const S* b = static_cast<const S*>(second);
  S* y = static_cast<S*>(to);
  with_activation_or_costly(kind, [&](auto of) {
    for_each_vector<V>(count, [&](int64_t j, auto lanes) {
      lanes.store(y + j, activate(of, lanes.load(a + j) + lanes.load(b + j)));
    });
  });
}

template <class V, class S>
void scale_mask(const void* from, const std::uint8_t* mask, double scale, void* to, int64_t count) {
  using T = typename V::Scalar;
  const S* x = static_cast<const S*>(from);
  S* y = static_cast<S*>(to);
  const V factor = V::all(static_cast<T>(scale));
  for_each_vector<V>(count, [&](int64_t j, auto lanes) {
    T kept[V::kLanes] = {};
    for (int i = 0; i < lanes.count; ++i) kept[i] = static_cast<T>(mask[j + i]);
    lanes.store(y + j, lanes.load(x + j) * V::load(kept) * factor);
  });
}

template <class V, class S>
void narrow_row(const void* compute, void* storage, int64_t count) {
  const auto* from = static_cast<const typename V::Scalar*>(compute);
  S* to = static_cast<S*>(storage);
  for_each_vector<V>(count, [&](int64_t j, auto lanes) { lanes.store(to + j, lanes.load(from + j)); });
}

template <class V, class S>
constexpr void fill_elementwise_kernels(ElementwiseKernels& k, Dtype t) {
  const int i = static_cast<int>(t);
  k.activation[i] = apply_activation<V, S>;
  k.activation_grad[i] = apply_activation_grad<V, S>;
  k.add[i] = add_arrays<V, S>;
  k.scale_mask[i] = scale_mask<V, S>;
  k.narrow[i] = narrow_row<V, S>;
}

constexpr ElementwiseKernels elementwise_kernels() {
  ElementwiseKernels k{};
  fill_elementwise_kernels<VecF32, float>(k, Dtype::float32);
  fill_elementwise_kernels<VecF64, double>(k, Dtype::float64);
  fill_elementwise_kernels<VecF32, Float16>(k, Dtype::float16);
  fill_elementwise_kernels<VecF32, BFloat16>(k, Dtype::bfloat16);
  return k;
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
