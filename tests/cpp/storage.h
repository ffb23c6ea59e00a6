// What float16 and bfloat16 mean, written for plainness: every kernel's conversions are held against this.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "core/dtype.h"

namespace fastconv::test {

// The bits of a 16-bit format with `kFractionBits` bits of fraction behind a sign and an exponent.
template <int kFractionBits>
float widen_bits(std::uint16_t bits) {
  constexpr int kExponentBits = 15 - kFractionBits, kBias = (1 << (kExponentBits - 1)) - 1;
  const int exponent = (bits >> kFractionBits) & ((1 << kExponentBits) - 1);
  const int fraction = bits & ((1 << kFractionBits) - 1);
  double magnitude;
  if (exponent == (1 << kExponentBits) - 1) {
    magnitude = fraction ? std::numeric_limits<double>::quiet_NaN() : std::numeric_limits<double>::infinity();
  } else if (exponent == 0) {
    magnitude = std::ldexp(fraction, 1 - kBias - kFractionBits);
  } else {
    magnitude = std::ldexp((1 << kFractionBits) + fraction, exponent - kBias - kFractionBits);
  }
  return static_cast<float>(std::copysign(magnitude, bits & 0x8000 ? -1.0 : 1.0));
}

// The nearest value of the format, an even last bit on ties; overflow as IEEE 754 has it: the infinity stands
// where the next finite number would.
template <int kFractionBits>
std::uint16_t narrow_bits(float x) {
  constexpr int kExponentBits = 15 - kFractionBits, kBias = (1 << (kExponentBits - 1)) - 1;
  constexpr std::uint16_t kInfinity = ((1 << kExponentBits) - 1) << kFractionBits;
  const std::uint16_t sign = std::signbit(x) ? 0x8000 : 0;
  if (std::isnan(x)) return sign | kInfinity | 1 << (kFractionBits - 1);
  if (std::isinf(x)) return sign | kInfinity;
  const double magnitude = std::fabs(static_cast<double>(x));
  if (magnitude == 0) return sign;
  int exponent = std::ilogb(magnitude);
  if (exponent < 1 - kBias) exponent = 1 - kBias;
  // In units of the last place; rint rounds ties to even. A carry runs over into the exponent by itself.
  const double units = std::rint(std::ldexp(magnitude, kFractionBits - exponent));
  const double bits = units + std::ldexp(exponent + kBias - 1, kFractionBits);
  return bits >= kInfinity ? sign | kInfinity : sign | static_cast<std::uint16_t>(bits);
}

inline float widen(float x) { return x; }
inline double widen(double x) { return x; }
inline float widen(Float16 x) { return widen_bits<10>(x.bits); }
inline float widen(BFloat16 x) { return widen_bits<7>(x.bits); }

template <class S, class T>
S narrow(T x) {
  if constexpr (sizeof(S) == 2) {
    return {std::is_same_v<S, Float16> ? narrow_bits<10>(x) : narrow_bits<7>(x)};
  } else {
    return x;
  }
}

}  // namespace fastconv::test
