// Vectors of AVX2 with FMA3 and F16C: 8 float32 or 4 float64 lanes.
// The meaning of every function is written once, in vec_scalar.h.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "core/dtype.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

constexpr int kVectorRegisters = 16;

template <class T>
struct Vec;

struct MaskF32 {
  __m256 m;
};
struct MaskF64 {
  __m256d m;
};

inline __m256i lanes_below_f32(int count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline __m256i lanes_below_f64(int count) {
  return _mm256_cmpgt_epi64(_mm256_set1_epi64x(count), _mm256_setr_epi64x(0, 1, 2, 3));
}

template <>
struct Vec<float> {
  using Scalar = float;
  using Mask = MaskF32;
  static constexpr int kLanes = 8;
  __m256 v;

  static Vec zero() { return {_mm256_setzero_ps()}; }
  static Vec all(float x) { return {_mm256_set1_ps(x)}; }
  static Vec load(const float* p) { return {_mm256_loadu_ps(p)}; }
  static Vec load_partial(const float* p, int count) {
    return {_mm256_maskload_ps(p, lanes_below_f32(count))};
  }
  void store(float* p) const { _mm256_storeu_ps(p, v); }
  void store_partial(float* p, int count) const {  // a masked store takes many times as long on some CPUs
    if (count >= kLanes) return _mm256_storeu_ps(p, v);
    __m128 rest = _mm256_castps256_ps128(v);
    if (count & 4) {
      _mm_storeu_ps(p, rest);
      rest = _mm256_extractf128_ps(v, 1);
      p += 4;
    }
    if (count & 2) {
      _mm_storel_pd(reinterpret_cast<double*>(p), _mm_castps_pd(rest));
      rest = _mm_movehl_ps(rest, rest);
      p += 2;
    }
    if (count & 1) _mm_store_ss(p, rest);
  }
};

template <>
struct Vec<double> {
  using Scalar = double;
  using Mask = MaskF64;
  static constexpr int kLanes = 4;
  __m256d v;

  static Vec zero() { return {_mm256_setzero_pd()}; }
  static Vec all(double x) { return {_mm256_set1_pd(x)}; }
  static Vec load(const double* p) { return {_mm256_loadu_pd(p)}; }
  static Vec load_partial(const double* p, int count) {
    return {_mm256_maskload_pd(p, lanes_below_f64(count))};
  }
  void store(double* p) const { _mm256_storeu_pd(p, v); }
  void store_partial(double* p, int count) const {
    if (count >= kLanes) return _mm256_storeu_pd(p, v);
    __m128d rest = _mm256_castpd256_pd128(v);
    if (count & 2) {
      _mm_storeu_pd(p, rest);
      rest = _mm256_extractf128_pd(v, 1);
      p += 2;
    }
    if (count & 1) _mm_store_sd(p, rest);
  }
};

using VecF32 = Vec<float>;
using VecF64 = Vec<double>;

inline VecF32 operator+(VecF32 a, VecF32 b) { return {_mm256_add_ps(a.v, b.v)}; }
inline VecF32 operator-(VecF32 a, VecF32 b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline VecF32 operator*(VecF32 a, VecF32 b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline VecF32 operator/(VecF32 a, VecF32 b) { return {_mm256_div_ps(a.v, b.v)}; }
inline VecF32 fma(VecF32 a, VecF32 b, VecF32 c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
inline VecF32 fnma(VecF32 a, VecF32 b, VecF32 c) { return {_mm256_fnmadd_ps(a.v, b.v, c.v)}; }
inline VecF32 min(VecF32 a, VecF32 b) { return {_mm256_min_ps(a.v, b.v)}; }
inline VecF32 max(VecF32 a, VecF32 b) { return {_mm256_max_ps(a.v, b.v)}; }
inline VecF32 sqrt(VecF32 a) { return {_mm256_sqrt_ps(a.v)}; }
inline VecF32 abs(VecF32 a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }
inline VecF32 copysign(VecF32 a, VecF32 sign) {
  const __m256 bit = _mm256_set1_ps(-0.0f);
  return {_mm256_or_ps(_mm256_andnot_ps(bit, a.v), _mm256_and_ps(bit, sign.v))};
}
inline VecF32 round(VecF32 a) {
  return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
inline VecF32 exp2_integer(VecF32 n) {
  const __m256i i = _mm256_add_epi32(_mm256_cvtps_epi32(n.v), _mm256_set1_epi32(127));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(i, 23))};
}
inline MaskF32 operator<(VecF32 a, VecF32 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
inline MaskF32 operator==(VecF32 a, VecF32 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_EQ_OQ)}; }
inline MaskF32 is_nan(VecF32 a) { return {_mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q)}; }
inline MaskF32 operator|(MaskF32 a, MaskF32 b) { return {_mm256_or_ps(a.m, b.m)}; }
inline MaskF32 operator&(MaskF32 a, MaskF32 b) { return {_mm256_and_ps(a.m, b.m)}; }
inline VecF32 select(MaskF32 m, VecF32 a, VecF32 b) { return {_mm256_blendv_ps(b.v, a.v, m.m)}; }
inline float reduce_add(VecF32 a) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  s = _mm_add_ss(s, _mm_movehdup_ps(s));
  return _mm_cvtss_f32(s);
}

inline VecF64 operator+(VecF64 a, VecF64 b) { return {_mm256_add_pd(a.v, b.v)}; }
inline VecF64 operator-(VecF64 a, VecF64 b) { return {_mm256_sub_pd(a.v, b.v)}; }
inline VecF64 operator*(VecF64 a, VecF64 b) { return {_mm256_mul_pd(a.v, b.v)}; }
inline VecF64 operator/(VecF64 a, VecF64 b) { return {_mm256_div_pd(a.v, b.v)}; }
inline VecF64 fma(VecF64 a, VecF64 b, VecF64 c) { return {_mm256_fmadd_pd(a.v, b.v, c.v)}; }
inline VecF64 fnma(VecF64 a, VecF64 b, VecF64 c) { return {_mm256_fnmadd_pd(a.v, b.v, c.v)}; }
inline VecF64 min(VecF64 a, VecF64 b) { return {_mm256_min_pd(a.v, b.v)}; }
inline VecF64 max(VecF64 a, VecF64 b) { return {_mm256_max_pd(a.v, b.v)}; }
inline VecF64 sqrt(VecF64 a) { return {_mm256_sqrt_pd(a.v)}; }
inline VecF64 abs(VecF64 a) { return {_mm256_andnot_pd(_mm256_set1_pd(-0.0), a.v)}; }
inline VecF64 copysign(VecF64 a, VecF64 sign) {
  const __m256d bit = _mm256_set1_pd(-0.0);
  return {_mm256_or_pd(_mm256_andnot_pd(bit, a.v), _mm256_and_pd(bit, sign.v))};
}
inline VecF64 round(VecF64 a) {
  return {_mm256_round_pd(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
inline VecF64 exp2_integer(VecF64 n) {
  const __m256i i =
      _mm256_add_epi64(_mm256_cvtepi32_epi64(_mm256_cvtpd_epi32(n.v)), _mm256_set1_epi64x(1023));
  return {_mm256_castsi256_pd(_mm256_slli_epi64(i, 52))};
}
inline MaskF64 operator<(VecF64 a, VecF64 b) { return {_mm256_cmp_pd(a.v, b.v, _CMP_LT_OQ)}; }
inline MaskF64 operator==(VecF64 a, VecF64 b) { return {_mm256_cmp_pd(a.v, b.v, _CMP_EQ_OQ)}; }
inline MaskF64 is_nan(VecF64 a) { return {_mm256_cmp_pd(a.v, a.v, _CMP_UNORD_Q)}; }
inline MaskF64 operator|(MaskF64 a, MaskF64 b) { return {_mm256_or_pd(a.m, b.m)}; }
inline MaskF64 operator&(MaskF64 a, MaskF64 b) { return {_mm256_and_pd(a.m, b.m)}; }
inline VecF64 select(MaskF64 m, VecF64 a, VecF64 b) { return {_mm256_blendv_pd(b.v, a.v, m.m)}; }
inline double reduce_add(VecF64 a) {
  const __m128d s = _mm_add_pd(_mm256_castpd256_pd128(a.v), _mm256_extractf128_pd(a.v, 1));
  return _mm_cvtsd_f64(_mm_add_sd(s, _mm_unpackhi_pd(s, s)));
}

inline __m128i load_partial_u16(const void* p, int count) {
  alignas(16) std::uint16_t lanes[8] = {};
  __builtin_memcpy(lanes, p, static_cast<std::size_t>(count) * 2);
  return _mm_load_si128(reinterpret_cast<const __m128i*>(lanes));
}
inline void store_partial_u16(void* p, __m128i v, int count) {
  alignas(16) std::uint16_t lanes[8];
  _mm_store_si128(reinterpret_cast<__m128i*>(lanes), v);
  __builtin_memcpy(p, lanes, static_cast<std::size_t>(count) * 2);
}
inline VecF32 widen_bf16(__m128i u) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(u), 16))};
}
inline __m128i narrow_bf16(VecF32 a) {
  const __m256i u = _mm256_castps_si256(a.v);
  const __m256i lsb = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(u, _mm256_add_epi32(lsb, _mm256_set1_epi32(0x7fff)));
  const __m256i quiet = _mm256_or_si256(u, _mm256_set1_epi32(0x400000));
  const __m256i nan = _mm256_castps_si256(is_nan(a).m);
  const __m256i r = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
  return _mm_packus_epi32(_mm256_castsi256_si128(r), _mm256_extracti128_si256(r, 1));
}

inline VecF32 load_as(const float* p, VecF32) { return VecF32::load(p); }
inline VecF64 load_as(const double* p, VecF64) { return VecF64::load(p); }
inline VecF32 load_as(const Float16* p, VecF32) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
inline VecF32 load_as(const BFloat16* p, VecF32) {
  return widen_bf16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline VecF32 load_partial_as(const float* p, int count, VecF32) { return VecF32::load_partial(p, count); }
inline VecF64 load_partial_as(const double* p, int count, VecF64) { return VecF64::load_partial(p, count); }
inline VecF32 load_partial_as(const Float16* p, int count, VecF32) {
  return {_mm256_cvtph_ps(load_partial_u16(p, count))};
}
inline VecF32 load_partial_as(const BFloat16* p, int count, VecF32) {
  return widen_bf16(load_partial_u16(p, count));
}
inline void store_as(float* p, VecF32 a) { a.store(p); }
inline void store_as(double* p, VecF64 a) { a.store(p); }
inline void store_as(Float16* p, VecF32 a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT));
}
inline void store_as(BFloat16* p, VecF32 a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), narrow_bf16(a));
}
inline void store_partial_as(float* p, int count, VecF32 a) { a.store_partial(p, count); }
inline void store_partial_as(double* p, int count, VecF64 a) { a.store_partial(p, count); }
inline void store_partial_as(Float16* p, int count, VecF32 a) {
  store_partial_u16(p, _mm256_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT), count);
}
inline void store_partial_as(BFloat16* p, int count, VecF32 a) {
  store_partial_u16(p, narrow_bf16(a), count);
}

inline VecF32 evens(VecF32 a, VecF32 b) {
  const __m256d mixed = _mm256_castps_pd(_mm256_shuffle_ps(a.v, b.v, 0x88));
  return {_mm256_castpd_ps(_mm256_permute4x64_pd(mixed, 0xd8))};
}
inline VecF64 evens(VecF64 a, VecF64 b) {
  return {_mm256_permute4x64_pd(_mm256_unpacklo_pd(a.v, b.v), 0xd8)};
}
inline VecF32 odds(VecF32 a, VecF32 b) {
  const __m256d mixed = _mm256_castps_pd(_mm256_shuffle_ps(a.v, b.v, 0xdd));
  return {_mm256_castpd_ps(_mm256_permute4x64_pd(mixed, 0xd8))};
}
inline VecF64 odds(VecF64 a, VecF64 b) { return {_mm256_permute4x64_pd(_mm256_unpackhi_pd(a.v, b.v), 0xd8)}; }
inline void interleave(VecF32 a, VecF32 b, VecF32* low, VecF32* high) {
  const __m256 first = _mm256_unpacklo_ps(a.v, b.v), second = _mm256_unpackhi_ps(a.v, b.v);
  low->v = _mm256_permute2f128_ps(first, second, 0x20);
  high->v = _mm256_permute2f128_ps(first, second, 0x31);
}
inline void interleave(VecF64 a, VecF64 b, VecF64* low, VecF64* high) {
  const __m256d first = _mm256_unpacklo_pd(a.v, b.v), second = _mm256_unpackhi_pd(a.v, b.v);
  low->v = _mm256_permute2f128_pd(first, second, 0x20);
  high->v = _mm256_permute2f128_pd(first, second, 0x31);
}

inline void stream_line(void* to, const void* from) {
  const __m256i* f = static_cast<const __m256i*>(from);
  __m256i* t = static_cast<__m256i*>(to);
  _mm256_stream_si256(t, _mm256_loadu_si256(f));
  _mm256_stream_si256(t + 1, _mm256_loadu_si256(f + 1));
}
inline void stream_end() { _mm_sfence(); }

inline void transpose(VecF32 (&r)[8]) {
  __m256 a[8], b[8];
  for (int i = 0; i < 8; i += 2) {
    a[i] = _mm256_unpacklo_ps(r[i].v, r[i + 1].v);
    a[i + 1] = _mm256_unpackhi_ps(r[i].v, r[i + 1].v);
  }
  for (int i = 0; i < 8; i += 4) {
    b[i] = _mm256_shuffle_ps(a[i], a[i + 2], 0x44);
    b[i + 1] = _mm256_shuffle_ps(a[i], a[i + 2], 0xee);
    b[i + 2] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0x44);
    b[i + 3] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0xee);
  }
  for (int i = 0; i < 4; ++i) {
    r[i].v = _mm256_permute2f128_ps(b[i], b[i + 4], 0x20);
    r[i + 4].v = _mm256_permute2f128_ps(b[i], b[i + 4], 0x31);
  }
}
inline void transpose(VecF64 (&r)[4]) {
  const __m256d a = _mm256_unpacklo_pd(r[0].v, r[1].v), b = _mm256_unpackhi_pd(r[0].v, r[1].v);
  const __m256d c = _mm256_unpacklo_pd(r[2].v, r[3].v), d = _mm256_unpackhi_pd(r[2].v, r[3].v);
  r[0].v = _mm256_permute2f128_pd(a, c, 0x20);
  r[1].v = _mm256_permute2f128_pd(b, d, 0x20);
  r[2].v = _mm256_permute2f128_pd(a, c, 0x31);
  r[3].v = _mm256_permute2f128_pd(b, d, 0x31);
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
