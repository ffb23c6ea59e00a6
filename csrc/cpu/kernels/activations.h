// Activations on whole vectors, as the epilogues and the elementwise kernels apply them.
//
//   relu        max(0, x)                    relu6     min(6, max(0, x))
//   leaky_relu  x > 0 ? x : 0.01 x           sigmoid   1 / (1 + exp(-x))
//   tanh        tanh(x)                      silu      x sigmoid(x)          (Elfwing et al. 2018)
//   gelu        x P(X <= x), X ~ N(0, 1)     (the exact one of Hendrycks & Gimpel 2016)
//
// NaN goes in and comes out. `Of` states the kind at compile time; with_activation() turns a run-time kind
// into one, once, outside the loop:  with_activation(kind, [&](auto of) { for (...) y = activate(of, x); });
#pragma once

#include "core/activation.h"
#include "cpu/kernels/vec_math.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

template <Activation kKind>
struct Of {
  static constexpr Activation kind = kKind;
};

template <class Body>
void with_activation(Activation kind, const Body& body) {
  switch (kind) {
    case Activation::none:
      return body(Of<Activation::none>{});
    case Activation::relu:
      return body(Of<Activation::relu>{});
    case Activation::relu6:
      return body(Of<Activation::relu6>{});
    case Activation::leaky_relu:
      return body(Of<Activation::leaky_relu>{});
    case Activation::sigmoid:
      return body(Of<Activation::sigmoid>{});
    case Activation::tanh:
      return body(Of<Activation::tanh>{});
    case Activation::gelu:
      return body(Of<Activation::gelu>{});
    case Activation::silu:
      return body(Of<Activation::silu>{});
  }
}

// gelu and silu are products of x with a factor that is exactly 0 or 1 beyond +-kSaturated, where an infinite
// x must not meet the zero.
template <class T>
constexpr T kSaturated = sizeof(T) == 4 ? T(120) : T(800);

template <Activation kKind, class V>
V activate(Of<kKind>, V x) {
  using T = typename V::Scalar;
  // min and max return their second argument where one is NaN: x comes second.
  if constexpr (kKind == Activation::relu) {
    return max(V::zero(), x);
  } else if constexpr (kKind == Activation::relu6) {
    return min(V::all(T(6)), max(V::zero(), x));
  } else if constexpr (kKind == Activation::leaky_relu) {
    return max(x * V::all(T(0.01)), x);
  } else if constexpr (kKind == Activation::sigmoid) {
    return sigmoid(x);
  } else if constexpr (kKind == Activation::tanh) {
    return tanh(x);
  } else if constexpr (kKind == Activation::gelu) {
    return max(V::all(-kSaturated<T>), x) * gauss(x).cdf;
  } else if constexpr (kKind == Activation::silu) {
    const V one = V::all(T(1));
    return max(V::all(-kSaturated<T>), x) / (one + exp(V::zero() - x));
  } else {
    return x;
  }
}

// One that costs so much more than telling it from the others that this may be done for every vector.
struct Costly {
  Activation kind;
};
template <class V>
__attribute__((noinline)) V activate(Costly costly, V x) {
  V y = x;
  with_activation(costly.kind, [&](auto of) { y = activate(of, x); });
  return y;
}

// For epilogues, which would be several times as large with all the others inside.
template <class Body>
void with_activation_or_costly(Activation kind, const Body& body) {
  if (kind == Activation::none) return body(Of<Activation::none>{});
  if (kind == Activation::relu) return body(Of<Activation::relu>{});
  if (kind == Activation::relu6) return body(Of<Activation::relu6>{});
  body(Costly{kind});
}

// The derivative, from y = activate(x) where y determines it, else (gelu and silu) from x.
template <Activation kKind, class V>
V activation_slope(Of<kKind>, V x_or_y) {
  using T = typename V::Scalar;
  const V zero = V::zero(), one = V::all(T(1));
  if constexpr (kKind == Activation::relu) {
    return select((zero < x_or_y) | is_nan(x_or_y), one, zero);
  } else if constexpr (kKind == Activation::relu6) {
    return select(((zero < x_or_y) & (x_or_y < V::all(T(6)))) | is_nan(x_or_y), one, zero);
  } else if constexpr (kKind == Activation::leaky_relu) {
    return select(zero < x_or_y, one, V::all(T(0.01)));
  } else if constexpr (kKind == Activation::sigmoid) {
    return x_or_y * (one - x_or_y);
  } else if constexpr (kKind == Activation::tanh) {
    return (one - x_or_y) * (one + x_or_y);
  } else if constexpr (kKind == Activation::gelu) {
    const Gauss<V> g = gauss(x_or_y);
    const V x = min(V::all(kSaturated<T>), max(V::all(-kSaturated<T>), x_or_y));
    return fma(x, g.density, g.cdf);
  } else if constexpr (kKind == Activation::silu) {
    const V x = min(V::all(kSaturated<T>), max(V::all(-kSaturated<T>), x_or_y)), s = sigmoid(x);
    return s * fma(x, one - s, one);
  } else {
    return one;
  }
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
