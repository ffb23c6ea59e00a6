// The smallest vector wrapper that serves, for any machine: the definition that every other vec_<isa>.h
// follows. What compilers know of vectors (GCC's and Clang's vector extension) is left to them, the rest is
// written lane by lane.
//
// Vec<T> holds kLanes elements of T (float or double); Vec<T>::Mask one truth value a lane.
//   zero() all(x) load(p) store(p)      whole vectors, any alignment
//   load_partial(p, n) store_partial(p, n)   the first n <= kLanes lanes; the others read as zero and are
//                             not touched
//   + - * /  min max sqrt abs copysign(a, sign)   min and max return their second argument when one is NaN
//   fma(a, b, c) = a*b + c    fnma(a, b, c) = c - a*b     (fused where the instruction set has it)
//   round(a)                  to the nearest integer, ties to even
//   exp2_integer(n)           2^n for integral lanes n within the normal exponent range
//   a < b, a == b, is_nan(a)  -> Mask;   m | n, m & n;   select(m, a, b) = m ? a : b
//   reduce_add(a)             sum of all lanes in a fixed order
//   load_as(p, V{}) load_partial_as(p, n, V{}) store_as(p, a) store_partial_as(p, n, a)
//                             the same with conversion from and to a storage type (float16, bfloat16), ties
//                             to even
//   evens(a, b) odds(a, b)    lanes 0, 2, 4, ... (1, 3, 5, ...) of a followed by those of b
//   interleave(a, b, &low, &high)   a0 b0 a1 b1 ...
//   transpose(Vec (&r)[kLanes])     in place, r[i] lane j <-> r[j] lane i
//   stream_line(to, from)     copies 64 bytes to an aligned line without reading it first, where that can be
//                             said; stream_end() orders such stores before later ones
#pragma once

#include <cmath>
#include <cstdint>

#include "core/dtype.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

constexpr int kVectorRegisters = 16;

template <class T>
struct Vec {
  using Scalar = T;
  static constexpr int kLanes = 16 / sizeof(T);
  using Lanes __attribute__((vector_size(16))) = T;
  struct Mask {
    decltype(Lanes{} < Lanes{}) m;  // all bits of a lane, or none
  };
  Lanes v;

  static Vec all(T x) {
    Vec r;
    for (int i = 0; i < kLanes; ++i) r.v[i] = x;
    return r;
  }
  static Vec zero() { return {Lanes{}}; }
  static Vec load_partial(const T* p, int count) {
    Vec r = zero();
    for (int i = 0; i < count; ++i) r.v[i] = p[i];
    return r;
  }
  static Vec load(const T* p) {
    Vec r;
    __builtin_memcpy(&r.v, p, sizeof r.v);
    return r;
  }
  void store_partial(T* p, int count) const {
    for (int i = 0; i < count; ++i) p[i] = v[i];
  }
  void store(T* p) const { __builtin_memcpy(p, &v, sizeof v); }
};
using VecF32 = Vec<float>;
using VecF64 = Vec<double>;

template <class T, class F>
Vec<T> lanewise(F f) {
  Vec<T> r;
  for (int i = 0; i < Vec<T>::kLanes; ++i) r.v[i] = f(i);
  return r;
}
template <class T>
Vec<T> operator+(Vec<T> a, Vec<T> b) {
  return {a.v + b.v};
}
template <class T>
Vec<T> operator-(Vec<T> a, Vec<T> b) {
  return {a.v - b.v};
}
template <class T>
Vec<T> operator*(Vec<T> a, Vec<T> b) {
  return {a.v * b.v};
}
template <class T>
Vec<T> operator/(Vec<T> a, Vec<T> b) {
  return {a.v / b.v};
}
template <class T>
Vec<T> fma(Vec<T> a, Vec<T> b, Vec<T> c) {
  return {a.v * b.v + c.v};
}
template <class T>
Vec<T> fnma(Vec<T> a, Vec<T> b, Vec<T> c) {
  return {c.v - a.v * b.v};
}
template <class T>
Vec<T> min(Vec<T> a, Vec<T> b) {
  return {a.v < b.v ? a.v : b.v};
}
template <class T>
Vec<T> max(Vec<T> a, Vec<T> b) {
  return {a.v > b.v ? a.v : b.v};
}
template <class T>
Vec<T> sqrt(Vec<T> a) {
  return lanewise<T>([&](int i) { return ::sqrt(a.v[i]); });
}
template <class T>
Vec<T> abs(Vec<T> a) {
  return lanewise<T>([&](int i) { return ::fabs(a.v[i]); });
}
template <class T>
Vec<T> copysign(Vec<T> a, Vec<T> s) {
  return lanewise<T>([&](int i) { return ::copysign(a.v[i], s.v[i]); });
}
template <class T>
Vec<T> round(Vec<T> a) {
  return lanewise<T>([&](int i) { return ::rint(a.v[i]); });
}
inline VecF32 exp2_integer(VecF32 n) {
  return lanewise<float>([&](int i) {
    const std::uint32_t u = static_cast<std::uint32_t>(static_cast<std::int32_t>(n.v[i]) + 127) << 23;
    float r;
    __builtin_memcpy(&r, &u, 4);
    return r;
  });
}
inline VecF64 exp2_integer(VecF64 n) {
  return lanewise<double>([&](int i) {
    const std::uint64_t u = static_cast<std::uint64_t>(static_cast<std::int64_t>(n.v[i]) + 1023) << 52;
    double r;
    __builtin_memcpy(&r, &u, 8);
    return r;
  });
}
template <class T>
typename Vec<T>::Mask operator<(Vec<T> a, Vec<T> b) {
  return {a.v < b.v};
}
template <class T>
typename Vec<T>::Mask operator==(Vec<T> a, Vec<T> b) {
  return {a.v == b.v};
}
template <class T>
typename Vec<T>::Mask is_nan(Vec<T> a) {
  return {a.v != a.v};
}
inline VecF32::Mask operator|(VecF32::Mask a, VecF32::Mask b) { return {a.m | b.m}; }
inline VecF64::Mask operator|(VecF64::Mask a, VecF64::Mask b) { return {a.m | b.m}; }
inline VecF32::Mask operator&(VecF32::Mask a, VecF32::Mask b) { return {a.m & b.m}; }
inline VecF64::Mask operator&(VecF64::Mask a, VecF64::Mask b) { return {a.m & b.m}; }
template <class T>
Vec<T> select(typename Vec<T>::Mask m, Vec<T> a, Vec<T> b) {
  return {m.m ? a.v : b.v};
}
template <class T>
T reduce_add(Vec<T> a) {
  T s = a.v[0];
  for (int i = 1; i < Vec<T>::kLanes; ++i) s += a.v[i];
  return s;
}

inline float widen(float x) { return x; }
inline double widen(double x) { return x; }
inline float widen(BFloat16 h) {
  const std::uint32_t u = static_cast<std::uint32_t>(h.bits) << 16;
  float f;
  __builtin_memcpy(&f, &u, 4);
  return f;
}
inline float widen(Float16 h) {
  const std::uint32_t sign = static_cast<std::uint32_t>(h.bits & 0x8000u) << 16;
  const std::uint32_t exponent = (h.bits >> 10) & 0x1fu, fraction = h.bits & 0x3ffu;
  float f;
  if (exponent == 0) {  // zero and subnormal: fraction * 2^-24
    f = static_cast<float>(fraction) * 5.9604644775390625e-8f;
    return sign ? -f : f;
  }
  const std::uint32_t u = sign | (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) | fraction << 13;
  __builtin_memcpy(&f, &u, 4);
  return f;
}
inline void narrow(float* p, float x) { *p = x; }
inline void narrow(double* p, double x) { *p = x; }
inline void narrow(BFloat16* p, float x) {
  std::uint32_t u;
  __builtin_memcpy(&u, &x, 4);
  u = x != x ? u | 0x400000u : u + 0x7fffu + ((u >> 16) & 1u);
  p->bits = static_cast<std::uint16_t>(u >> 16);
}
inline void narrow(Float16* p, float x) {
  std::uint32_t u;
  __builtin_memcpy(&u, &x, 4);
  const std::uint32_t sign = (u >> 16) & 0x8000u, magnitude = u & 0x7fffffffu;
  std::uint32_t r;
  if (magnitude > 0x7f800000u) {
    r = 0x7e00u | ((magnitude >> 13) & 0x3ffu);
  } else if (magnitude >= 0x477ff000u) {  // 65520 and above round to infinity
    r = 0x7c00u;
  } else if (magnitude < 0x38800000u) {  // below 2^-14: a multiple of 2^-24
    r = static_cast<std::uint32_t>(::rintf(::fabsf(x) * 16777216.0f));
  } else {
    r = (magnitude + 0xfffu + ((magnitude >> 13) & 1u) - 0x38000000u) >> 13;
  }
  p->bits = static_cast<std::uint16_t>(sign | r);
}

template <class S, class T>
Vec<T> load_as(const S* p, Vec<T>) {
  return lanewise<T>([&](int i) { return widen(p[i]); });
}
template <class S, class T>
Vec<T> load_partial_as(const S* p, int count, Vec<T>) {
  return lanewise<T>([&](int i) { return i < count ? widen(p[i]) : T(0); });
}
template <class S, class T>
void store_partial_as(S* p, int count, Vec<T> a) {
  for (int i = 0; i < count; ++i) narrow(p + i, a.v[i]);
}
template <class S, class T>
void store_as(S* p, Vec<T> a) {
  store_partial_as(p, Vec<T>::kLanes, a);
}
template <class T>
Vec<T> evens(Vec<T> a, Vec<T> b) {
  constexpr int kHalf = Vec<T>::kLanes / 2;
  return lanewise<T>([&](int i) { return i < kHalf ? a.v[2 * i] : b.v[2 * (i - kHalf)]; });
}
template <class T>
Vec<T> odds(Vec<T> a, Vec<T> b) {
  constexpr int kHalf = Vec<T>::kLanes / 2;
  return lanewise<T>([&](int i) { return i < kHalf ? a.v[2 * i + 1] : b.v[2 * (i - kHalf) + 1]; });
}
template <class T>
void interleave(Vec<T> a, Vec<T> b, Vec<T>* low, Vec<T>* high) {
  constexpr int kHalf = Vec<T>::kLanes / 2;
  *low = lanewise<T>([&](int i) { return i % 2 ? b.v[i / 2] : a.v[i / 2]; });
  *high = lanewise<T>([&](int i) { return i % 2 ? b.v[kHalf + i / 2] : a.v[kHalf + i / 2]; });
}
inline void stream_line(void* to, const void* from) { __builtin_memcpy(to, from, 64); }
inline void stream_end() {}

template <class T>
void transpose(Vec<T> (&r)[Vec<T>::kLanes]) {
  for (int i = 0; i < Vec<T>::kLanes; ++i)
    for (int j = 0; j < i; ++j) {
      const T t = r[i].v[j];
      r[i].v[j] = r[j].v[i];
      r[j].v[i] = t;
    }
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
