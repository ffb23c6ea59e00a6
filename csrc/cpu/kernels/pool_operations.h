// What a pool makes of the elements under a window. An operation walks along with a State:
//
//   start(number)           nothing seen yet; `number` is the first element's
//   add(state, x, number)   one more element in each lane; numbers tell them apart, in rising order
//   value(state)            the state as one vector
//   merge(a, b)             the values of two groups of elements as one; b's come later
//   finish(v, divisor)      the result
//   kPlain                  one element seen is that element itself
//   kDivided                finish() divides
//
// A wide window is the merged values of its halves, each of them so made, down to kLongestPart elements:
// float32 sums of a million elements keep their accuracy.
//
// NumberedMaximum also remembers the number of the maximum. A number in a lane is never computed with: it is
// the bits of 1.0 plus the number, so that comparisons order it, below 2^30, and no flushing of denormals
// touches it.
#pragma once

#include "cpu/contracts/pools.h"
#include "cpu/kernels/vector_parts.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

inline void set_lane_number(float* lane, int64_t number) {
  const std::uint32_t bits = 0x3f800000u + static_cast<std::uint32_t>(number);
  __builtin_memcpy(lane, &bits, sizeof bits);
}
inline void set_lane_number(double* lane, int64_t number) {
  const std::int64_t bits = 0x3ff0000000000000 + number;
  __builtin_memcpy(lane, &bits, sizeof bits);
}
inline int64_t number_of_lane(float lane) {
  std::uint32_t bits;
  __builtin_memcpy(&bits, &lane, sizeof bits);
  return static_cast<int64_t>(bits) - 0x3f800000;
}
inline int64_t number_of_lane(double lane) {
  std::int64_t bits;
  __builtin_memcpy(&bits, &lane, sizeof bits);
  return bits - 0x3ff0000000000000;
}
template <class V>
V all_numbered(int64_t number) {
  typename V::Scalar lane;
  set_lane_number(&lane, number);
  return V::all(lane);
}

// x where it is above `than`, or the first NaN; `than` among equals.
template <class V>
typename V::Mask beats(V x, V than) {
  return (than < x) | (is_nan(x) & (than == than));
}

template <class V>
V lowest() {
  return V::all(-static_cast<typename V::Scalar>(__builtin_inf()));
}

template <class V>
struct Maximum {
  using State = V;
  static constexpr bool kNumbers = false, kPlain = true, kDivided = false;
  V start(int64_t = 0) const { return lowest<V>(); }
  // max() returns its second argument when one is NaN: one that is already there stays.
  void add(V& state, V x, int64_t) const { state = select(is_nan(x), x, max(x, state)); }
  V value(V state) const { return state; }
  V merge(V a, V b) const { return select(is_nan(b), b, max(b, a)); }
  V finish(V v, V) const { return v; }
};

constexpr int64_t kLongestPart = 2048;

template <class V>
struct NumberedMaximum {
  struct State {
    V value, number;
  };
  static constexpr bool kNumbers = true, kPlain = false;
  State start(int64_t number = 0) const { return {lowest<V>(), all_numbered<V>(number)}; }
  void add(State& state, V x, int64_t number) const {
    const auto wins = beats(x, state.value);
    state.value = select(wins, x, state.value);
    state.number = select(wins, all_numbered<V>(number), state.number);
  }
  V value(const State& state) const { return state.value; }
  V finish(V v, V) const { return v; }
};

template <class V>
struct Mean {
  using State = V;
  static constexpr bool kNumbers = false, kPlain = true, kDivided = true;
  V start(int64_t = 0) const { return V::zero(); }
  void add(V& state, V x, int64_t) const { state = state + x; }
  V value(V state) const { return state; }
  V merge(V a, V b) const { return a + b; }
  V finish(V v, V divisor) const { return (v + V::zero()) / divisor; }  // a sum of -0 is 0 by any route
};

template <class V>
struct ScaledMean : Mean<V> {  // by the reciprocals of powers of two
  V finish(V v, V scale) const { return (v + V::zero()) * scale; }
};

inline float raise(float x, float p) { return __builtin_powf(x, p); }
inline double raise(double x, double p) { return __builtin_pow(x, p); }
template <class V>
V raise(V x, typename V::Scalar p) {
  typename V::Scalar lanes[V::kLanes];
  x.store(lanes);
  for (int i = 0; i < V::kLanes; ++i) lanes[i] = raise(lanes[i], p);
  return V::load(lanes);
}

// x^p for x >= 0; small whole exponents by multiplication.
template <class V>
struct Exponent {
  using T = typename V::Scalar;
  static constexpr int kMostProducts = 8;
  T p;
  int whole;
  explicit Exponent(double exponent) : p(static_cast<T>(exponent)), whole(0) {
    for (int n = 0; n <= kMostProducts; ++n)
      if (exponent == n) whole = n;
  }
  V operator()(V x) const {
    if (p == 0) return V::all(T(1));
    if (whole == 0) return raise(x, p);
    V product = x;
    for (int i = 1; i < whole; ++i) product = product * x;
    return product;
  }
};

template <class V>
struct PowerSum {
  using T = typename V::Scalar;
  using State = V;
  static constexpr bool kNumbers = false, kPlain = false, kDivided = false;
  Exponent<V> power;
  explicit PowerSum(double p) : power(p) {}
  V start(int64_t = 0) const { return V::zero(); }
  void add(V& state, V x, int64_t) const { state = state + power(abs(x)); }
  V value(V state) const { return state; }
  V merge(V a, V b) const { return a + b; }
  V finish(V v, V) const {
    return power.whole == 1 ? v : power.whole == 2 ? sqrt(v) : raise(v, T(1) / power.p);
  }
};

// Calls walk(operation) with what the lines ask for.
template <class V, PoolOperation kOperation, class Walk>
void with_operation(double p, const Walk& walk) {
  if constexpr (kOperation == PoolOperation::mean) {
    walk(Mean<V>());
  } else if constexpr (kOperation == PoolOperation::power) {
    walk(PowerSum<V>(p));
  } else {
    walk(Maximum<V>());
  }
}
template <class V, PoolOperation kOperation, class Walk>
void with_operation(const PoolLines& r, const Walk& walk) {
  if constexpr (kOperation == PoolOperation::max) {
    if (r.lines->indices || r.lines->taps) return walk(NumberedMaximum<V>());
  }
  with_operation<V, kOperation>(r.p, walk);
}

template <class T>
void fill(T* p, int64_t count, T value) {
  for (int64_t i = 0; i < count; ++i) p[i] = value;
}

// The first `count` lanes of v, the others as if nothing had been seen.
template <class V, class Operation>
V masked(const Operation& operation, V v, int count) {
  using T = typename V::Scalar;
  static constexpr T kLane[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return select(V::load(kLane) < V::all(static_cast<T>(count)), v, operation.value(operation.start()));
}

// What of a line's `size` positions, the first of them input column `start`, lies in the input.
struct LineSpan {
  int64_t begin, end;
};
inline LineSpan inside(int64_t start, int64_t input, int64_t size) {
  LineSpan span = {start < 0 ? -start : 0, input - start < size ? input - start : size};
  if (span.begin > size) span.begin = size;
  if (span.end < span.begin) span.end = span.begin;
  return span;
}

// The divisors of a line's windows [column, column + count), as vectors; ones where the operation has none.
template <class V>
V divisors(const PoolLines& r, const PoolLine& line, int64_t column, int count) {
  using T = typename V::Scalar;
  if (!r.divisor) return V::all(T(1));
  return V::all(static_cast<T>(line.divisor)) *
         V::load_partial(static_cast<const T*>(r.divisor) + column, count);
}

// Elements from `begin` on that a line may write to: its own, or, where lines follow each other in memory,
// those of later ones too, which they overwrite. Whole vectors are stored faster than parts.
template <class S, class Line>
int64_t writable(const Line* lines, int64_t line_count, int64_t line, int64_t columns, void* Line::* begin) {
  const S* const first = static_cast<const S*>(lines[0].*begin);
  const S* const last = static_cast<const S*>(lines[line_count - 1].*begin);
  return last == first + (line_count - 1) * columns ? (line_count - line) * columns : columns;
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
