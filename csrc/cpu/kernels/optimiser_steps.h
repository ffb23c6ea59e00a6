// Optimiser steps in place (contracts/optimisers.h); p parameter, g gradient, d weight decay.
//
//   sgd      g += d p;   u = momentum u + g;   p -= lr (nesterov ? g + momentum u : u)
//   rmsprop  g += d p;   s = alpha s + (1 - alpha) g^2;   w = g / (sqrt(s) + eps);   u = momentum u + w;   p
//   -= lr u adam     g += d p, or decoupled p -= lr d p;   m += (1 - beta1) (g - m);   v = beta2 v + (1 -
//   beta2) g^2
//            p -= lr / correction1 * m / (sqrt(v) / root2 + eps)
//
// Without momentum there is no u: p -= lr g (or lr w). Sources: Sutskever et al. 2013 (momentum as PyTorch
// writes it); Hinton 2012, lecture 6e; Kingma & Ba 2015; Loshchilov & Hutter 2019 (decoupled decay).
#pragma once

#include "cpu/contracts/optimisers.h"
#include "cpu/kernels/vector_loop.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

template <class V>
V broadcast(double x) {
  return V::all(static_cast<typename V::Scalar>(x));
}

// g + d p; without decay the parameter is left out of it, so that an infinite one does no harm.
template <class V>
V decayed(V grad, double weight_decay, V param) {
  return weight_decay == 0 ? grad : fma(broadcast<V>(weight_decay), param, grad);
}

template <class V>
void sgd_step(const SgdStep& s, int64_t start, int64_t count) {
  using T = typename V::Scalar;
  T* p = static_cast<T*>(s.param) + start;
  const T* g = static_cast<const T*>(s.grad) + start;
  T* u = s.velocity ? static_cast<T*>(s.velocity) + start : nullptr;
  const V lr = broadcast<V>(s.lr), momentum = broadcast<V>(s.momentum);
  for_each_vector<V>(count, [&](int64_t j, auto lanes) {
    const V param = lanes.load(p + j);
    V step = decayed(lanes.load(g + j), s.weight_decay, param);
    if (u) {
      const V velocity = fma(momentum, lanes.load(u + j), step);
      lanes.store(u + j, velocity);
      step = s.nesterov ? fma(momentum, velocity, step) : velocity;
    }
    lanes.store(p + j, fnma(lr, step, param));
  });
}

template <class V>
void rmsprop_step(const RmspropStep& s, int64_t start, int64_t count) {
  using T = typename V::Scalar;
  T* p = static_cast<T*>(s.param) + start;
  const T* g = static_cast<const T*>(s.grad) + start;
  T* squares = static_cast<T*>(s.square_avg) + start;
  T* u = s.velocity ? static_cast<T*>(s.velocity) + start : nullptr;
  const V lr = broadcast<V>(s.lr), momentum = broadcast<V>(s.momentum);
  const V alpha = broadcast<V>(s.alpha), rest = broadcast<V>(1 - s.alpha), eps = broadcast<V>(s.eps);
  for_each_vector<V>(count, [&](int64_t j, auto lanes) {
    const V param = lanes.load(p + j), grad = decayed(lanes.load(g + j), s.weight_decay, param);
    const V square = fma(rest * grad, grad, alpha * lanes.load(squares + j));
    lanes.store(squares + j, square);
    V step = grad / (sqrt(square) + eps);
    if (u) {
      step = fma(momentum, lanes.load(u + j), step);
      lanes.store(u + j, step);
    }
    lanes.store(p + j, fnma(lr, step, param));
  });
}

template <class V>
void adam_step(const AdamStep& s, int64_t start, int64_t count) {
  using T = typename V::Scalar;
  T* p = static_cast<T*>(s.param) + start;
  const T* g = static_cast<const T*>(s.grad) + start;
  T* m = static_cast<T*>(s.m) + start;
  T* v = static_cast<T*>(s.v) + start;
  const V step_size = broadcast<V>(s.lr / s.correction1), eps = broadcast<V>(s.eps);
  const V root = broadcast<V>(s.root2), rest1 = broadcast<V>(1 - s.beta1);
  const V beta2 = broadcast<V>(s.beta2), rest2 = broadcast<V>(1 - s.beta2);
  const V kept = broadcast<V>(s.decoupled ? 1 - s.lr * s.weight_decay : 1);
  const double decay = s.decoupled ? 0 : s.weight_decay;
  for_each_vector<V>(count, [&](int64_t j, auto lanes) {
    const V param = lanes.load(p + j), grad = decayed(lanes.load(g + j), decay, param);
    const V mean = lanes.load(m + j), first = fma(grad - mean, rest1, mean);
    const V second = fma(rest2 * grad, grad, beta2 * lanes.load(v + j));
    lanes.store(m + j, first);
    lanes.store(v + j, second);
    lanes.store(p + j, fnma(step_size, first / (sqrt(second) / root + eps), param * kept));
  });
}

constexpr OptimiserKernels optimiser_kernels() {
  return {{sgd_step<VecF32>, sgd_step<VecF64>},
          {rmsprop_step<VecF32>, rmsprop_step<VecF64>},
          {adam_step<VecF32>, adam_step<VecF64>}};
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
