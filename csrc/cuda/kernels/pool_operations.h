// What a pool makes of the elements of a window, one lane at a time; cpu/kernels/pool_operations.h has the
// same for vectors.
//
//   start(number)        nothing seen yet; `number` is the first element's position in the plane
//   add(state, x, n)     one more element; in rising order of their numbers
//   merge(a, b)          two groups of elements as one; which is a, which b changes nothing
//   exchange(s, mask)    the state of the lane that shuffle_xor names
//   finish(s, divisor)   the result
#pragma once

#include <cmath>

#include "cuda/device.h"

namespace fastconv::cuda {

template <class T>
struct Maximum {
  using State = T;
  static constexpr bool kNumbers = false, kDivides = false, kPower = false;
  FASTCONV_DEVICE State start(std::int64_t) const { return -static_cast<T>(INFINITY); }
  FASTCONV_DEVICE void add(State& state, T x, std::int64_t) const { state = larger(state, x); }
  FASTCONV_DEVICE State merge(State a, State b) const { return larger(a, b); }
  FASTCONV_DEVICE State exchange(State state, int mask) const { return shuffle_xor(state, mask); }
  FASTCONV_DEVICE T finish(State state, T) const { return state; }
};

constexpr std::int64_t kNoNumber = INT64_MAX;  // of no element

// Also where the maximum lies: the first NaN, or the first among equals.
template <class T>
struct NumberedMaximum {
  struct State {
    T value;
    std::int64_t number;
  };
  static constexpr bool kNumbers = true, kDivides = false, kPower = false;
  FASTCONV_DEVICE State start(std::int64_t number) const { return {-static_cast<T>(INFINITY), number}; }
  FASTCONV_DEVICE void add(State& state, T x, std::int64_t number) const {
    if (!(x <= state.value) && state.value == state.value) state = {x, number};
  }
  FASTCONV_DEVICE State merge(const State& a, const State& b) const {
    const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
    const bool ties = a.value == b.value || (a_nan && b_nan);
    return ties ? (b.number < a.number ? b : a) : b.value > a.value || b_nan ? b : a;
  }
  FASTCONV_DEVICE State exchange(const State& state, int mask) const {
    return {shuffle_xor(state.value, mask), shuffle_xor(state.number, mask)};
  }
  FASTCONV_DEVICE T finish(const State& state, T) const { return state.value; }
};

template <class T>
struct Mean {
  using State = T;
  static constexpr bool kNumbers = false, kDivides = true, kPower = false;
  FASTCONV_DEVICE State start(std::int64_t) const { return 0; }
  FASTCONV_DEVICE void add(State& state, T x, std::int64_t) const { state += x; }
  FASTCONV_DEVICE State merge(State a, State b) const { return a + b; }
  FASTCONV_DEVICE State exchange(State state, int mask) const { return shuffle_xor(state, mask); }
  FASTCONV_DEVICE T finish(State state, T divisor) const { return state / divisor; }
};

// A call, since it is large and stands in many places.
template <class T>
FASTCONV_DEVICE_CALL T raise(T x, T p) {
  return static_cast<T>(pow(x, p));
}

// A kernel of powers asks for room for few blocks: what must outlive these calls then stays in registers.
constexpr int kBlocksOfPowers = 2;

// x^p for x >= 0; small whole exponents by multiplication.
template <class T>
struct Exponent {
  T p;
  int whole = 0;
  explicit Exponent(double exponent) : p(static_cast<T>(exponent)) {
    constexpr int kMostProducts = 8;
    for (int n = 1; n <= kMostProducts; ++n)
      if (exponent == n) whole = n;
  }
  FASTCONV_DEVICE T operator()(T x) const {
    if (p == 0) return 1;
    if (whole == 0) return raise(x, p);
    T product = x;
    for (int i = 1; i < whole; ++i) product *= x;
    return product;
  }
};

template <class T>
struct PowerSum {
  using State = T;
  static constexpr bool kNumbers = false, kDivides = false, kPower = true;
  Exponent<T> power;
  explicit PowerSum(double p) : power(p) {}
  FASTCONV_DEVICE State start(std::int64_t) const { return 0; }
  FASTCONV_DEVICE void add(State& state, T x, std::int64_t) const { state += power(static_cast<T>(fabs(x))); }
  FASTCONV_DEVICE State merge(State a, State b) const { return a + b; }
  FASTCONV_DEVICE State exchange(State state, int mask) const { return shuffle_xor(state, mask); }
  FASTCONV_DEVICE T finish(State state, T) const {
    return power.whole == 1   ? state
           : power.whole == 2 ? static_cast<T>(sqrt(state))
                              : raise(state, T(1) / power.p);
  }
};

// What an output element gives to, and what an input element makes of, the sum between them.
template <class T>
struct MeanGradient {
  static constexpr bool kPower = false;
  explicit MeanGradient(double) {}
  FASTCONV_DEVICE T upstream(T dy, T) const { return dy; }
  FASTCONV_DEVICE T downstream(T sum, T) const { return sum; }
};

template <class T>
struct PowerGradient {
  static constexpr bool kPower = true;
  Exponent<T> power;
  explicit PowerGradient(double p) : power(p - 1) {}
  FASTCONV_DEVICE T upstream(T dy, T y) const { return y == 0 ? T(0) : dy / power(y); }
  FASTCONV_DEVICE T downstream(T sum, T x) const {
    if (x == 0) return 0;
    const T factor = power(static_cast<T>(fabs(x)));
    return sum * (x < 0 ? -factor : factor);
  }
};

}  // namespace fastconv::cuda
