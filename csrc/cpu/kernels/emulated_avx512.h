// AVX-512 on any machine, for tests: SIMDe's portable intrinsics under their native names, and those it
// lacks, lane by lane after the instruction set's manual.
#pragma once

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <simde/x86/f16c.h>

#include <cstdint>

// Where the compiler's own headers declare these, a macro must not hide the definitions below.
#undef _mm512_cvtps_ph
#undef _mm512_extractf32x8_ps
// SIMDe has these two, but gives them no native name.
#undef _mm512_shuffle_f32x4
#undef _mm512_shuffle_f64x2
#define _mm512_shuffle_f32x4 simde_mm512_shuffle_f32x4
#define _mm512_shuffle_f64x2 simde_mm512_shuffle_f64x2

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

template <class T>
void copy_lanes(void* to, const void* from, int lanes, unsigned mask) {
  for (int i = 0; i < lanes; ++i)
    if (mask >> i & 1u) __builtin_memcpy(static_cast<T*>(to) + i, static_cast<const T*>(from) + i, sizeof(T));
}

inline void _mm512_stream_si512(__m512i* p, __m512i v) { __builtin_memcpy(p, &v, sizeof v); }

inline __m512 _mm512_maskz_loadu_ps(__mmask16 m, const void* p) {
  __m512 r = _mm512_setzero_ps();
  copy_lanes<float>(&r, p, 16, m);
  return r;
}
inline __m512d _mm512_maskz_loadu_pd(__mmask8 m, const void* p) {
  __m512d r = _mm512_setzero_pd();
  copy_lanes<double>(&r, p, 8, m);
  return r;
}
inline __m256i _mm256_maskz_loadu_epi16(__mmask16 m, const void* p) {
  __m256i r = _mm256_setzero_si256();
  copy_lanes<std::uint16_t>(&r, p, 16, m);
  return r;
}
inline void _mm512_mask_storeu_ps(void* p, __mmask16 m, __m512 a) { copy_lanes<float>(p, &a, 16, m); }
inline void _mm512_mask_storeu_pd(void* p, __mmask8 m, __m512d a) { copy_lanes<double>(p, &a, 8, m); }
inline void _mm256_mask_storeu_epi16(void* p, __mmask16 m, __m256i a) {
  copy_lanes<std::uint16_t>(p, &a, 16, m);
}

inline __m256 _mm512_extractf32x8_ps(__m512 a, int half) {
  __m256 r;
  __builtin_memcpy(&r, reinterpret_cast<const char*>(&a) + 32 * half, 32);
  return r;
}
inline __m512i _mm512_cvtepu16_epi32(__m256i a) {
  std::uint16_t from[16];
  std::uint32_t to[16];
  __builtin_memcpy(from, &a, sizeof from);
  for (int i = 0; i < 16; ++i) to[i] = from[i];
  return _mm512_loadu_si512(to);
}
inline __m256i _mm512_cvtepi32_epi16(__m512i a) {
  std::uint32_t from[16];
  std::uint16_t to[16];
  _mm512_storeu_si512(from, a);
  for (int i = 0; i < 16; ++i) to[i] = static_cast<std::uint16_t>(from[i]);
  __m256i r;
  __builtin_memcpy(&r, to, sizeof to);
  return r;
}
inline __m512 _mm512_cvtph_ps(__m256i a) {
  const __m256 low = _mm256_cvtph_ps(_mm256_castsi256_si128(a)),
               high = _mm256_cvtph_ps(_mm256_extracti128_si256(a, 1));
  float lanes[16];
  _mm256_storeu_ps(lanes, low);
  _mm256_storeu_ps(lanes + 8, high);
  return _mm512_loadu_ps(lanes);
}
inline __m256i _mm512_cvtps_ph(__m512 a, int) {  // rounds to nearest, ties to even, as all callers ask
  const __m128i low = _mm256_cvtps_ph(_mm512_castps512_ps256(a), _MM_FROUND_TO_NEAREST_INT);
  const __m128i high = _mm256_cvtps_ph(_mm512_extractf32x8_ps(a, 1), _MM_FROUND_TO_NEAREST_INT);
  return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
