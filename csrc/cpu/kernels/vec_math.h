// Transcendental functions on whole vectors V of float or double.
//
//   exp(x)  expm1_nonpositive(x)  log1p_unit(x)  pow_nonnegative(x, b)  tanh(x)  sigmoid(x)  gauss(x)
//
// Errors stay within a few units in the last place (tests/test_elementwise.py holds the bounds); NaN goes in
// and comes out; the ends of the range give 0, 1 or Inf as the limits say. Results below the smallest normal
// number may be flushed to zero, as everywhere in the kernels.
//
// The polynomials are near-minimax fits made for this file with mpmath.chebyfit at 40 digits, over the
// intervals given beside them, highest power first; the error in brackets is relative to the function that
// uses the fit.
#pragma once

#include "core/dtype.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

template <class T>
struct MathConstants;

template <>
struct MathConstants<float> {
  using Bits = std::uint32_t;
  static constexpr int kFractionBits = 23, kExponentBias = 127;
  static constexpr Bits kFractionMask = 0x7fffff, kOneBits = 0x3f800000;
  static constexpr float kInfinity = __builtin_inff(), kNaN = __builtin_nanf("");
  static constexpr float kSmallestNormal = 1.17549435e-38f;
  // exp() is 0 at and below the first and infinite at and above the second; the third is the first one's
  // power of two.
  static constexpr float kExpZero = -104.0f, kExpInfinite = 89.0f, kExpLeast = -150.0f;
  // ln 2 in two parts, the first with so few bits that its product with any exponent is exact.
  static constexpr float kLn2High = 0.693145751953125f, kLn2Low = 1.428606765e-06f;
  static constexpr float kSplit = 4097.0f;  // 2^12 + 1: cuts a significand in halves
  static constexpr float kTailEnd = 15.0f;  // exp(-x^2 / 2) is 0 from here on
  // (exp(r) - 1 - r) / r^2 for |r| <= 0.5005 * log(2)   [8e-9]
  static constexpr float kExp[] = {0.00139262131f, 0.00836320315f, 0.0416665561f, 0.166665763f, 0.5f};
  // (2 atanh(s) - 2 s) / s^3 in z = s^2 for 0 <= z <= 1/9   [1e-9]
  static constexpr float kAtanh[] = {0.232243299f, 0.217065752f, 0.28592357f, 0.399997056f, 0.666666687f};
  // (a + 5) exp(a^2 / 2) erfc(a / sqrt(2)) / 2 in t = (a - 5) / (a + 5) for 0 <= a <= kTailEnd   [3e-8]
  static constexpr float kTail[] = {0.00010939088f, 0.000660748687f, -0.000852651603f, -0.00307144225f,
                                    0.0207922794f,  -0.0691023245f,  0.165022507f,     -0.313534468f,
                                    0.495305449f,   -0.665382445f,   0.769193053f};
};

template <>
struct MathConstants<double> {
  using Bits = std::uint64_t;
  static constexpr int kFractionBits = 52, kExponentBias = 1023;
  static constexpr Bits kFractionMask = 0xfffffffffffff, kOneBits = 0x3ff0000000000000;
  static constexpr double kInfinity = __builtin_inf(), kNaN = __builtin_nan("");
  static constexpr double kSmallestNormal = 2.2250738585072014e-308;
  static constexpr double kExpZero = -746.0, kExpInfinite = 710.0, kExpLeast = -1076.0;
  static constexpr double kLn2High = 0.6931471805598903, kLn2Low = 5.497923018708371e-14;
  static constexpr double kSplit = 134217729.0;  // 2^27 + 1
  static constexpr double kTailEnd = 40.0;
  // The same functions on the same intervals   [1.3e-17, 7e-18, 5e-17]
  static constexpr double kExp[] = {2.5100424157005067e-08, 2.7620138719733994e-07, 2.7557268378684192e-06,
                                    2.480152119021773e-05,  0.00019841269863105968, 0.0013888888917281794,
                                    0.008333333333330051,   0.04166666666662399,    0.16666666666666669,
                                    0.5000000000000001};
  static constexpr double kAtanh[] = {
      0.1616404561194353,  0.08800738486144674, 0.12001072809590713, 0.13314144209654935, 0.15385570064958623,
      0.18181789436132859, 0.22222222717427864, 0.2857142856710876,  0.40000000000014585, 0.6666666666666666};
  static constexpr double kTail[] = {
      2.2061860857956886e-09, 7.573702456952603e-09,  -1.0623937439932971e-08, -6.65400740125251e-08,
      4.385236079192329e-08,  4.343124300104718e-07,  -3.376318795644607e-07,  -2.770264894685992e-06,
      3.981274923141603e-06,  1.6681694446690882e-05, -4.976288868029808e-05,  -5.937586780212169e-05,
      0.0005448990707733159,  -0.0007978693739469138, -0.0029933767701593532,  0.020795066797416595,
      -0.06911863870640436,   0.16502036617051113,    -0.31353315667129955,    0.49530561596997386,
      -0.6653825028900567,    0.769193049750063};
};

template <class V>
using Constants = MathConstants<typename V::Scalar>;

template <class V, int kCount>
V polynomial(const typename V::Scalar (&c)[kCount], V x) {
  V r = V::all(c[0]);
#pragma GCC unroll 32
  for (int i = 1; i < kCount; ++i) r = fma(r, x, V::all(c[i]));
  return r;
}

// expm1(x - n log 2), where n = round(x / log 2); x is clamped to the range in which exp() is neither 0 nor
// infinite.
template <class V>
V reduced_expm1(V x, V* n) {
  using T = typename V::Scalar;
  using C = Constants<V>;
  x = min(V::all(C::kExpInfinite), max(V::all(C::kExpZero), x));  // this order of arguments lets NaN through
  *n = max(round(x * V::all(T(1.4426950408889634))), V::all(C::kExpLeast));  // and this one stops it
  const V r = fnma(*n, V::all(C::kLn2Low), fnma(*n, V::all(C::kLn2High), x));
  return fma(r * r, polynomial(C::kExp, r), r);
}

// a * 2^n in two steps, each within the exponent range.
template <class V>
V scale_by_exp2(V a, V n) {
  const V half = round(n * V::all(typename V::Scalar(0.5)));
  return a * exp2_integer(half) * exp2_integer(n - half);
}

template <class V>
V exp(V x) {
  V n;
  const V m = reduced_expm1(x, &n);
  return scale_by_exp2(m + V::all(typename V::Scalar(1)), n);
}

// exp(x) - 1 without cancellation, for x <= 0.
template <class V>
V expm1_nonpositive(V x) {
  using T = typename V::Scalar;
  constexpr T kAllButOne =
      sizeof(T) == 4 ? T(-30) : T(-60);  // exp(x) below half a unit in the last place of 1
  V n;
  const V m = reduced_expm1(max(V::all(kAllButOne), x), &n);
  const V power = exp2_integer(n);
  return fma(power, m, power - V::all(T(1)));
}

// 2 atanh(s) for |s| <= 1/3.
template <class V>
V twice_atanh(V s) {
  const V z = s * s;
  return fma(s * z, polynomial(Constants<V>::kAtanh, z), s + s);
}

// x = m * 2^e with sqrt(1/2) <= m < sqrt(2), for positive normal x; any m and e for other x.
template <class V>
V split_exponent(V x, V* m) {
  using T = typename V::Scalar;
  using C = Constants<V>;
  using Bits = typename C::Bits;
  T fraction[V::kLanes], exponent[V::kLanes];
  x.store(fraction);
  Bits bits[V::kLanes];
  __builtin_memcpy(bits, fraction, sizeof(bits));
  for (int i = 0; i < V::kLanes; ++i) {
    exponent[i] = static_cast<T>(static_cast<std::int32_t>(bits[i] >> C::kFractionBits) - C::kExponentBias);
    bits[i] = (bits[i] & C::kFractionMask) | C::kOneBits;
  }
  __builtin_memcpy(fraction, bits, sizeof(bits));
  const V f = V::load(fraction), e = V::load(exponent), one = V::all(T(1));
  const auto large = V::all(T(1.4142135623730951)) < f;
  *m = select(large, f * V::all(T(0.5)), f);
  return select(large, e + one, e);
}

// f(x) for positive finite x, with its values at 0 and infinity; NaN where x is negative or NaN.
template <class V>
V at_range_ends(V x, V f, typename V::Scalar at_zero, typename V::Scalar at_infinity) {
  using C = Constants<V>;
  f = select(x < V::all(C::kSmallestNormal), V::all(at_zero), f);
  f = select(x == V::all(C::kInfinity), V::all(at_infinity), f);
  return select((x < V::zero()) | is_nan(x), V::all(C::kNaN), f);
}

// log(1 + x) for 0 <= x <= 1.
template <class V>
V log1p_unit(V x) {
  return twice_atanh(x / (x + V::all(typename V::Scalar(2))));
}

// x^b for x >= 0: 2^n exp(f), where n + f / log(2) = b log2(x) is kept in parts, so that a large exponent
// costs no digits.
template <class V>
[[gnu::always_inline]] inline V pow_nonnegative(V x, typename V::Scalar b) {
  using T = typename V::Scalar;
  using C = Constants<V>;
  const T cut = b * C::kSplit, b_high = cut - (cut - b);
  const V one = V::all(T(1));
  V m;
  const V e = split_exponent(x, &m);
  const V whole = e * V::all(b_high);  // exact
  const V log2_m = twice_atanh((m - one) / (m + one)) * V::all(T(1.4426950408889634));
  const V rest = fma(e, V::all(b - b_high), log2_m * V::all(b));
  const V limit = V::all(-C::kExpLeast), n = min(max(round(whole + rest), V::zero() - limit), limit);
  // Half a unit and what rounding adds; more is left only where n met its limit, and does not matter there.
  const V most = V::all(T(0.51));
  const V f = min(max((whole - n) + rest, V::zero() - most), most) * V::all(T(0.6931471805599453));
  const V power = scale_by_exp2(fma(f * f, polynomial(C::kExp, f), f) + one, n);
  const T growth = b == T(0) ? T(1) : C::kInfinity, decay = b == T(0) ? T(1) : T(0);
  return at_range_ends(x, power, b < T(0) ? growth : decay, b < T(0) ? decay : growth);
}

// With e = exp(-2 |x|) - 1, tanh |x| = -e / (2 + e): accurate near 0 too.
template <class V>
V tanh(V x) {
  using T = typename V::Scalar;
  const V e = expm1_nonpositive(abs(x) * V::all(T(-2)));
  return copysign(e / (e + V::all(T(2))), x);
}

template <class V>
V sigmoid(V x) {
  const V one = V::all(typename V::Scalar(1));
  return one / (one + exp(V::zero() - x));
}

// The standard normal distribution: its density, and its integral from -infinity to x with full relative
// accuracy in the middle and absolute accuracy in both tails. (erf(x / sqrt(2)) is 2 cdf - 1; the activations
// want the cdf.)
template <class V>
struct Gauss {
  V cdf, density;
};

template <class V>
[[gnu::always_inline]] inline Gauss<V> gauss(V x) {
  using T = typename V::Scalar;
  const V five = V::all(T(5)), one = V::all(T(1));
  const V a = min(V::all(Constants<V>::kTailEnd), abs(x));
  const V bell = exp(a * a * V::all(T(-0.5)));
  const V inverse = one / (a + five);
  const V tail = bell * (polynomial(Constants<V>::kTail, (a - five) * inverse) * inverse);
  return {select(x < V::zero(), tail, one - tail), bell * V::all(T(0.3989422804014327))};
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
