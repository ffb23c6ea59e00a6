// Vectors of AVX-512 (F, BW, DQ and VL): 16 float32 or 8 float64 lanes.
// The meaning of every function is written once, in vec_scalar.h.
#pragma once

#ifdef FASTCONV_EMULATED
#include "cpu/kernels/emulated_avx512.h"
#else
#include <immintrin.h>
#endif

#include <cstdint>

#include "core/dtype.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

constexpr int kVectorRegisters = 32;

template <class T>
struct Vec;

struct MaskF32 {
  __mmask16 m;
};
struct MaskF64 {
  __mmask8 m;
};

inline __mmask16 lanes_below(int count) { return static_cast<__mmask16>((1u << count) - 1u); }

template <>
struct Vec<float> {
  using Scalar = float;
  using Mask = MaskF32;
  static constexpr int kLanes = 16;
  __m512 v;

  static Vec zero() { return {_mm512_setzero_ps()}; }
  static Vec all(float x) { return {_mm512_set1_ps(x)}; }
  static Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static Vec load_partial(const float* p, int count) {
    return {_mm512_maskz_loadu_ps(lanes_below(count), p)};
  }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
  void store_partial(float* p, int count) const { _mm512_mask_storeu_ps(p, lanes_below(count), v); }
};

template <>
struct Vec<double> {
  using Scalar = double;
  using Mask = MaskF64;
  static constexpr int kLanes = 8;
  __m512d v;

  static Vec zero() { return {_mm512_setzero_pd()}; }
  static Vec all(double x) { return {_mm512_set1_pd(x)}; }
  static Vec load(const double* p) { return {_mm512_loadu_pd(p)}; }
  static Vec load_partial(const double* p, int count) {
    return {_mm512_maskz_loadu_pd(static_cast<__mmask8>(lanes_below(count)), p)};
  }
  void store(double* p) const { _mm512_storeu_pd(p, v); }
  void store_partial(double* p, int count) const {
    _mm512_mask_storeu_pd(p, static_cast<__mmask8>(lanes_below(count)), v);
  }
};

using VecF32 = Vec<float>;
using VecF64 = Vec<double>;

inline VecF32 operator+(VecF32 a, VecF32 b) { return {_mm512_add_ps(a.v, b.v)}; }
inline VecF32 operator-(VecF32 a, VecF32 b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline VecF32 operator*(VecF32 a, VecF32 b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline VecF32 operator/(VecF32 a, VecF32 b) { return {_mm512_div_ps(a.v, b.v)}; }
inline VecF32 fma(VecF32 a, VecF32 b, VecF32 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline VecF32 fnma(VecF32 a, VecF32 b, VecF32 c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }
inline VecF32 min(VecF32 a, VecF32 b) { return {_mm512_min_ps(a.v, b.v)}; }
inline VecF32 max(VecF32 a, VecF32 b) { return {_mm512_max_ps(a.v, b.v)}; }
inline VecF32 sqrt(VecF32 a) { return {_mm512_sqrt_ps(a.v)}; }
inline VecF32 abs(VecF32 a) { return {_mm512_andnot_ps(_mm512_set1_ps(-0.0f), a.v)}; }
inline VecF32 copysign(VecF32 a, VecF32 sign) {
  const __m512 bit = _mm512_set1_ps(-0.0f);
  return {_mm512_or_ps(_mm512_andnot_ps(bit, a.v), _mm512_and_ps(bit, sign.v))};
}
inline VecF32 round(VecF32 a) {
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
inline VecF32 exp2_integer(VecF32 n) { return {_mm512_scalef_ps(_mm512_set1_ps(1.0f), n.v)}; }
inline MaskF32 operator<(VecF32 a, VecF32 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
inline MaskF32 operator==(VecF32 a, VecF32 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)}; }
inline MaskF32 is_nan(VecF32 a) { return {_mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q)}; }
inline MaskF32 operator|(MaskF32 a, MaskF32 b) { return {static_cast<__mmask16>(a.m | b.m)}; }
inline MaskF32 operator&(MaskF32 a, MaskF32 b) { return {static_cast<__mmask16>(a.m & b.m)}; }
inline VecF32 select(MaskF32 m, VecF32 a, VecF32 b) { return {_mm512_mask_blend_ps(m.m, b.v, a.v)}; }
inline float reduce_add(VecF32 a) {
  const __m256 h = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  s = _mm_add_ss(s, _mm_movehdup_ps(s));
  return _mm_cvtss_f32(s);
}

inline VecF64 operator+(VecF64 a, VecF64 b) { return {_mm512_add_pd(a.v, b.v)}; }
inline VecF64 operator-(VecF64 a, VecF64 b) { return {_mm512_sub_pd(a.v, b.v)}; }
inline VecF64 operator*(VecF64 a, VecF64 b) { return {_mm512_mul_pd(a.v, b.v)}; }
inline VecF64 operator/(VecF64 a, VecF64 b) { return {_mm512_div_pd(a.v, b.v)}; }
inline VecF64 fma(VecF64 a, VecF64 b, VecF64 c) { return {_mm512_fmadd_pd(a.v, b.v, c.v)}; }
inline VecF64 fnma(VecF64 a, VecF64 b, VecF64 c) { return {_mm512_fnmadd_pd(a.v, b.v, c.v)}; }
inline VecF64 min(VecF64 a, VecF64 b) { return {_mm512_min_pd(a.v, b.v)}; }
inline VecF64 max(VecF64 a, VecF64 b) { return {_mm512_max_pd(a.v, b.v)}; }
inline VecF64 sqrt(VecF64 a) { return {_mm512_sqrt_pd(a.v)}; }
inline VecF64 abs(VecF64 a) { return {_mm512_andnot_pd(_mm512_set1_pd(-0.0), a.v)}; }
inline VecF64 copysign(VecF64 a, VecF64 sign) {
  const __m512d bit = _mm512_set1_pd(-0.0);
  return {_mm512_or_pd(_mm512_andnot_pd(bit, a.v), _mm512_and_pd(bit, sign.v))};
}
inline VecF64 round(VecF64 a) {
  return {_mm512_roundscale_pd(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
inline VecF64 exp2_integer(VecF64 n) { return {_mm512_scalef_pd(_mm512_set1_pd(1.0), n.v)}; }
inline MaskF64 operator<(VecF64 a, VecF64 b) { return {_mm512_cmp_pd_mask(a.v, b.v, _CMP_LT_OQ)}; }
inline MaskF64 operator==(VecF64 a, VecF64 b) { return {_mm512_cmp_pd_mask(a.v, b.v, _CMP_EQ_OQ)}; }
inline MaskF64 is_nan(VecF64 a) { return {_mm512_cmp_pd_mask(a.v, a.v, _CMP_UNORD_Q)}; }
inline MaskF64 operator|(MaskF64 a, MaskF64 b) { return {static_cast<__mmask8>(a.m | b.m)}; }
inline MaskF64 operator&(MaskF64 a, MaskF64 b) { return {static_cast<__mmask8>(a.m & b.m)}; }
inline VecF64 select(MaskF64 m, VecF64 a, VecF64 b) { return {_mm512_mask_blend_pd(m.m, b.v, a.v)}; }
inline double reduce_add(VecF64 a) {
  const __m256d h = _mm256_add_pd(_mm512_castpd512_pd256(a.v), _mm512_extractf64x4_pd(a.v, 1));
  const __m128d s = _mm_add_pd(_mm256_castpd256_pd128(h), _mm256_extractf128_pd(h, 1));
  return _mm_cvtsd_f64(_mm_add_sd(s, _mm_unpackhi_pd(s, s)));
}

inline VecF32 widen_bf16(__m256i u) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(u), 16))};
}
inline __m256i narrow_bf16(VecF32 a) {
  const __m512i u = _mm512_castps_si512(a.v);
  const __m512i lsb = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(u, _mm512_add_epi32(lsb, _mm512_set1_epi32(0x7fff)));
  const __m512i quiet = _mm512_or_si512(u, _mm512_set1_epi32(0x400000));
  const __m512i r = _mm512_mask_blend_epi32(is_nan(a).m, rounded, quiet);
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(r, 16));
}

inline VecF32 load_as(const float* p, VecF32) { return VecF32::load(p); }
inline VecF64 load_as(const double* p, VecF64) { return VecF64::load(p); }
inline VecF32 load_as(const Float16* p, VecF32) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
inline VecF32 load_as(const BFloat16* p, VecF32) {
  return widen_bf16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline VecF32 load_partial_as(const float* p, int count, VecF32) { return VecF32::load_partial(p, count); }
inline VecF64 load_partial_as(const double* p, int count, VecF64) { return VecF64::load_partial(p, count); }
inline VecF32 load_partial_as(const Float16* p, int count, VecF32) {
  return {_mm512_cvtph_ps(_mm256_maskz_loadu_epi16(lanes_below(count), p))};
}
inline VecF32 load_partial_as(const BFloat16* p, int count, VecF32) {
  return widen_bf16(_mm256_maskz_loadu_epi16(lanes_below(count), p));
}
inline void store_as(float* p, VecF32 a) { a.store(p); }
inline void store_as(double* p, VecF64 a) { a.store(p); }
inline void store_as(Float16* p, VecF32 a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT));
}
inline void store_as(BFloat16* p, VecF32 a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow_bf16(a));
}
inline void store_partial_as(float* p, int count, VecF32 a) { a.store_partial(p, count); }
inline void store_partial_as(double* p, int count, VecF64 a) { a.store_partial(p, count); }
inline void store_partial_as(Float16* p, int count, VecF32 a) {
  _mm256_mask_storeu_epi16(p, lanes_below(count), _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT));
}
inline void store_partial_as(BFloat16* p, int count, VecF32 a) {
  _mm256_mask_storeu_epi16(p, lanes_below(count), narrow_bf16(a));
}

// Squares of four lanes first, within each 128-bit part; then the parts themselves, in two steps of
// shuffle_f32x4.
inline void transpose(VecF32 (&r)[16]) {
  __m512 a[16], b[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    a[i] = _mm512_unpacklo_ps(r[i].v, r[i + 1].v);
    a[i + 1] = _mm512_unpackhi_ps(r[i].v, r[i + 1].v);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    b[i] = _mm512_shuffle_ps(a[i], a[i + 2], 0x44);
    b[i + 1] = _mm512_shuffle_ps(a[i], a[i + 2], 0xee);
    b[i + 2] = _mm512_shuffle_ps(a[i + 1], a[i + 3], 0x44);
    b[i + 3] = _mm512_shuffle_ps(a[i + 1], a[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m512 even_low = _mm512_shuffle_f32x4(b[i], b[i + 4], 0x88),
                 odd_low = _mm512_shuffle_f32x4(b[i], b[i + 4], 0xdd);
    const __m512 even_high = _mm512_shuffle_f32x4(b[i + 8], b[i + 12], 0x88);
    const __m512 odd_high = _mm512_shuffle_f32x4(b[i + 8], b[i + 12], 0xdd);
    r[i].v = _mm512_shuffle_f32x4(even_low, even_high, 0x88);
    r[i + 4].v = _mm512_shuffle_f32x4(odd_low, odd_high, 0x88);
    r[i + 8].v = _mm512_shuffle_f32x4(even_low, even_high, 0xdd);
    r[i + 12].v = _mm512_shuffle_f32x4(odd_low, odd_high, 0xdd);
  }
}
inline VecF32 evens(VecF32 a, VecF32 b) {
  const __m512i lanes = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  return {_mm512_permutex2var_ps(a.v, lanes, b.v)};
}
inline VecF64 evens(VecF64 a, VecF64 b) {
  const __m512i lanes = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14);
  return {_mm512_permutex2var_pd(a.v, lanes, b.v)};
}
inline VecF32 odds(VecF32 a, VecF32 b) {
  const __m512i lanes = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
  return {_mm512_permutex2var_ps(a.v, lanes, b.v)};
}
inline VecF64 odds(VecF64 a, VecF64 b) {
  const __m512i lanes = _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15);
  return {_mm512_permutex2var_pd(a.v, lanes, b.v)};
}
inline void interleave(VecF32 a, VecF32 b, VecF32* low, VecF32* high) {
  const __m512i first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(8));
  low->v = _mm512_permutex2var_ps(a.v, first, b.v);
  high->v = _mm512_permutex2var_ps(a.v, second, b.v);
}
inline void interleave(VecF64 a, VecF64 b, VecF64* low, VecF64* high) {
  const __m512i first = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
  const __m512i second = _mm512_add_epi64(first, _mm512_set1_epi64(4));
  low->v = _mm512_permutex2var_pd(a.v, first, b.v);
  high->v = _mm512_permutex2var_pd(a.v, second, b.v);
}
inline void stream_line(void* to, const void* from) {
  _mm512_stream_si512(static_cast<__m512i*>(to), _mm512_loadu_si512(from));
}
inline void stream_end() { _mm_sfence(); }

inline void transpose(VecF64 (&r)[8]) {
  __m512d a[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    a[i] = _mm512_unpacklo_pd(r[i].v, r[i + 1].v);
    a[i + 1] = _mm512_unpackhi_pd(r[i].v, r[i + 1].v);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    const __m512d even_low = _mm512_shuffle_f64x2(a[i], a[i + 2], 0x88),
                  odd_low = _mm512_shuffle_f64x2(a[i], a[i + 2], 0xdd);
    const __m512d even_high = _mm512_shuffle_f64x2(a[i + 4], a[i + 6], 0x88);
    const __m512d odd_high = _mm512_shuffle_f64x2(a[i + 4], a[i + 6], 0xdd);
    r[i].v = _mm512_shuffle_f64x2(even_low, even_high, 0x88);
    r[i + 2].v = _mm512_shuffle_f64x2(odd_low, odd_high, 0x88);
    r[i + 4].v = _mm512_shuffle_f64x2(even_low, even_high, 0xdd);
    r[i + 6].v = _mm512_shuffle_f64x2(odd_low, odd_high, 0xdd);
  }
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
