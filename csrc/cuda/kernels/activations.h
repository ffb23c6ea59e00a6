// Activations and their slopes, one element at a time; cpu/kernels/activations.h has the formulas' sources.
// NaN goes in and comes out.
#pragma once

#include "core/activation.h"
#include "cuda/device.h"

namespace fastconv::cuda {

template <class T>
FASTCONV_DEVICE T sigmoid(T x) {
  return T(1) / (T(1) + exp(-x));
}

// P(X <= x), X ~ N(0, 1)
template <class T>
FASTCONV_DEVICE T gauss(T x) {
  return T(0.5) * erfc(-x * T(0.70710678118654752440));
}

// gelu and silu are products of x with a factor that vanishes beyond -kSaturated, where an infinite x must
// not meet the zero.
template <class T>
FASTCONV_DEVICE T saturated(T x) {
  const T limit = sizeof(T) == 4 ? T(120) : T(800);
  return x < -limit ? -limit : x;
}

// A call, since a store that repeats it for each of a thread's sums would be several times as large with all
// of it inside.
template <class T>
FASTCONV_DEVICE_CALL T activate_by_call(Activation kind, T x) {
  switch (kind) {
    case Activation::relu6:
      return x < T(0) ? T(0) : x > T(6) ? T(6) : x;
    case Activation::leaky_relu:
      return x < T(0) ? T(0.01) * x : x;
    case Activation::sigmoid:
      return sigmoid(x);
    case Activation::tanh:
      return tanh(x);
    case Activation::gelu:
      return saturated(x) * gauss(x);
    case Activation::silu:
      return saturated(x) * sigmoid(x);
    default:
      return x;
  }
}

template <class T>
FASTCONV_DEVICE T activate(Activation kind, T x) {
  if (kind == Activation::none) return x;
  if (kind == Activation::relu) return x < T(0) ? T(0) : x;
  return activate_by_call(kind, x);
}

// The derivative, from y = activate(x) where y determines it, else (gelu and silu) from x.
template <class T>
FASTCONV_DEVICE T activation_slope(Activation kind, T x_or_y) {
  switch (kind) {
    case Activation::relu:
      return x_or_y <= T(0) ? T(0) : T(1);
    case Activation::relu6:
      return x_or_y <= T(0) || x_or_y >= T(6) ? T(0) : T(1);
    case Activation::leaky_relu:
      return x_or_y > T(0) ? T(1) : T(0.01);
    case Activation::sigmoid:
      return x_or_y * (T(1) - x_or_y);
    case Activation::tanh:
      return (T(1) - x_or_y) * (T(1) + x_or_y);
    case Activation::gelu: {
      const T x = saturated(-saturated(-x_or_y)), density = T(0.39894228040143267794) * exp(T(-0.5) * x * x);
      return gauss(x_or_y) + x * density;
    }
    case Activation::silu: {
      const T x = saturated(-saturated(-x_or_y)), s = sigmoid(x);
      return s * (T(1) + x * (T(1) - s));
    }
    default:
      return T(1);
  }
}

}  // namespace fastconv::cuda
