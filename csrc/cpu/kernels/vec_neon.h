// Vectors of NEON as AArch64 has it: 4 float32 or 2 float64 lanes.
// The meaning of every function is written once, in vec_scalar.h.
#pragma once

#ifdef FASTCONV_EMULATED
#include "cpu/kernels/emulated_neon.h"
#else
#include <arm_neon.h>
#endif

#include <cstdint>

#include "core/dtype.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

constexpr int kVectorRegisters = 32;

template <class T>
struct Vec;

struct MaskF32 {
  uint32x4_t m;
};
struct MaskF64 {
  uint64x2_t m;
};

template <>
struct Vec<float> {
  using Scalar = float;
  using Mask = MaskF32;
  static constexpr int kLanes = 4;
  float32x4_t v;

  static Vec zero() { return {vdupq_n_f32(0.0f)}; }
  static Vec all(float x) { return {vdupq_n_f32(x)}; }
  static Vec load(const float* p) { return {vld1q_f32(p)}; }
  static Vec load_partial(const float* p, int count) {
    float lanes[4] = {};
    __builtin_memcpy(lanes, p, static_cast<std::size_t>(count) * sizeof(float));
    return load(lanes);
  }
  void store(float* p) const { vst1q_f32(p, v); }
  void store_partial(float* p, int count) const {
    float lanes[4];
    store(lanes);
    __builtin_memcpy(p, lanes, static_cast<std::size_t>(count) * sizeof(float));
  }
};

template <>
struct Vec<double> {
  using Scalar = double;
  using Mask = MaskF64;
  static constexpr int kLanes = 2;
  float64x2_t v;

  static Vec zero() { return {vdupq_n_f64(0.0)}; }
  static Vec all(double x) { return {vdupq_n_f64(x)}; }
  static Vec load(const double* p) { return {vld1q_f64(p)}; }
  static Vec load_partial(const double* p, int count) {
    double lanes[2] = {};
    __builtin_memcpy(lanes, p, static_cast<std::size_t>(count) * sizeof(double));
    return load(lanes);
  }
  void store(double* p) const { vst1q_f64(p, v); }
  void store_partial(double* p, int count) const {
    double lanes[2];
    store(lanes);
    __builtin_memcpy(p, lanes, static_cast<std::size_t>(count) * sizeof(double));
  }
};

using VecF32 = Vec<float>;
using VecF64 = Vec<double>;

inline MaskF32 operator<(VecF32 a, VecF32 b) { return {vcltq_f32(a.v, b.v)}; }
inline MaskF32 operator==(VecF32 a, VecF32 b) { return {vceqq_f32(a.v, b.v)}; }
inline MaskF32 is_nan(VecF32 a) { return {vmvnq_u32(vceqq_f32(a.v, a.v))}; }
inline MaskF32 operator|(MaskF32 a, MaskF32 b) { return {vorrq_u32(a.m, b.m)}; }
inline MaskF32 operator&(MaskF32 a, MaskF32 b) { return {vandq_u32(a.m, b.m)}; }
inline VecF32 select(MaskF32 m, VecF32 a, VecF32 b) { return {vbslq_f32(m.m, a.v, b.v)}; }

inline VecF32 operator+(VecF32 a, VecF32 b) { return {vaddq_f32(a.v, b.v)}; }
inline VecF32 operator-(VecF32 a, VecF32 b) { return {vsubq_f32(a.v, b.v)}; }
inline VecF32 operator*(VecF32 a, VecF32 b) { return {vmulq_f32(a.v, b.v)}; }
inline VecF32 operator/(VecF32 a, VecF32 b) { return {vdivq_f32(a.v, b.v)}; }
inline VecF32 fma(VecF32 a, VecF32 b, VecF32 c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
inline VecF32 fnma(VecF32 a, VecF32 b, VecF32 c) { return {vfmsq_f32(c.v, a.v, b.v)}; }
// vminq and vmaxq would return the NaN of either side.
inline VecF32 min(VecF32 a, VecF32 b) { return select(a < b, a, b); }
inline VecF32 max(VecF32 a, VecF32 b) { return select(b < a, a, b); }
inline VecF32 sqrt(VecF32 a) { return {vsqrtq_f32(a.v)}; }
inline VecF32 abs(VecF32 a) { return {vabsq_f32(a.v)}; }
inline VecF32 copysign(VecF32 a, VecF32 sign) { return {vbslq_f32(vdupq_n_u32(0x80000000u), sign.v, a.v)}; }
inline VecF32 round(VecF32 a) { return {vrndnq_f32(a.v)}; }
inline VecF32 exp2_integer(VecF32 n) {
  const int32x4_t i = vaddq_s32(vcvtq_s32_f32(n.v), vdupq_n_s32(127));
  return {vreinterpretq_f32_s32(vshlq_n_s32(i, 23))};
}
inline float reduce_add(VecF32 a) { return vaddvq_f32(a.v); }

inline MaskF64 operator<(VecF64 a, VecF64 b) { return {vcltq_f64(a.v, b.v)}; }
inline MaskF64 operator==(VecF64 a, VecF64 b) { return {vceqq_f64(a.v, b.v)}; }
inline MaskF64 is_nan(VecF64 a) {
  return {vreinterpretq_u64_u32(vmvnq_u32(vreinterpretq_u32_u64(vceqq_f64(a.v, a.v))))};
}
inline MaskF64 operator|(MaskF64 a, MaskF64 b) { return {vorrq_u64(a.m, b.m)}; }
inline MaskF64 operator&(MaskF64 a, MaskF64 b) { return {vandq_u64(a.m, b.m)}; }
inline VecF64 select(MaskF64 m, VecF64 a, VecF64 b) { return {vbslq_f64(m.m, a.v, b.v)}; }

inline VecF64 operator+(VecF64 a, VecF64 b) { return {vaddq_f64(a.v, b.v)}; }
inline VecF64 operator-(VecF64 a, VecF64 b) { return {vsubq_f64(a.v, b.v)}; }
inline VecF64 operator*(VecF64 a, VecF64 b) { return {vmulq_f64(a.v, b.v)}; }
inline VecF64 operator/(VecF64 a, VecF64 b) { return {vdivq_f64(a.v, b.v)}; }
inline VecF64 fma(VecF64 a, VecF64 b, VecF64 c) { return {vfmaq_f64(c.v, a.v, b.v)}; }
inline VecF64 fnma(VecF64 a, VecF64 b, VecF64 c) { return {vfmsq_f64(c.v, a.v, b.v)}; }
inline VecF64 min(VecF64 a, VecF64 b) { return select(a < b, a, b); }
inline VecF64 max(VecF64 a, VecF64 b) { return select(b < a, a, b); }
inline VecF64 sqrt(VecF64 a) { return {vsqrtq_f64(a.v)}; }
inline VecF64 abs(VecF64 a) { return {vabsq_f64(a.v)}; }
inline VecF64 copysign(VecF64 a, VecF64 sign) {
  return {vbslq_f64(vdupq_n_u64(std::uint64_t{1} << 63), sign.v, a.v)};
}
inline VecF64 round(VecF64 a) { return {vrndnq_f64(a.v)}; }
inline VecF64 exp2_integer(VecF64 n) {
  const int64x2_t i = vaddq_s64(vcvtq_s64_f64(n.v), vdupq_n_s64(1023));
  return {vreinterpretq_f64_s64(vshlq_n_s64(i, 52))};
}
inline double reduce_add(VecF64 a) { return vaddvq_f64(a.v); }

inline VecF32 widen_f16(uint16x4_t u) { return {vcvt_f32_f16(vreinterpret_f16_u16(u))}; }
inline uint16x4_t narrow_f16(VecF32 a) { return vreinterpret_u16_f16(vcvt_f16_f32(a.v)); }
inline VecF32 widen_bf16(uint16x4_t u) { return {vreinterpretq_f32_u32(vshlq_n_u32(vmovl_u16(u), 16))}; }
inline uint16x4_t narrow_bf16(VecF32 a) {
  const uint32x4_t u = vreinterpretq_u32_f32(a.v);
  const uint32x4_t lsb = vandq_u32(vshrq_n_u32(u, 16), vdupq_n_u32(1));
  const uint32x4_t rounded = vaddq_u32(u, vaddq_u32(lsb, vdupq_n_u32(0x7fff)));
  const uint32x4_t quiet = vorrq_u32(u, vdupq_n_u32(0x400000));
  return vmovn_u32(vshrq_n_u32(vbslq_u32(is_nan(a).m, quiet, rounded), 16));
}
inline uint16x4_t load_u16(const void* p, int count) {
  std::uint16_t lanes[4] = {};
  __builtin_memcpy(lanes, p, static_cast<std::size_t>(count) * sizeof(lanes[0]));
  return vld1_u16(lanes);
}
inline void store_u16(void* p, uint16x4_t v, int count) {
  std::uint16_t lanes[4];
  vst1_u16(lanes, v);
  __builtin_memcpy(p, lanes, static_cast<std::size_t>(count) * sizeof(lanes[0]));
}

inline VecF32 load_as(const float* p, VecF32) { return VecF32::load(p); }
inline VecF64 load_as(const double* p, VecF64) { return VecF64::load(p); }
inline VecF32 load_as(const Float16* p, VecF32) { return widen_f16(load_u16(p, 4)); }
inline VecF32 load_as(const BFloat16* p, VecF32) { return widen_bf16(load_u16(p, 4)); }
inline VecF32 load_partial_as(const float* p, int count, VecF32) { return VecF32::load_partial(p, count); }
inline VecF64 load_partial_as(const double* p, int count, VecF64) { return VecF64::load_partial(p, count); }
inline VecF32 load_partial_as(const Float16* p, int count, VecF32) { return widen_f16(load_u16(p, count)); }
inline VecF32 load_partial_as(const BFloat16* p, int count, VecF32) { return widen_bf16(load_u16(p, count)); }
inline void store_as(float* p, VecF32 a) { a.store(p); }
inline void store_as(double* p, VecF64 a) { a.store(p); }
inline void store_as(Float16* p, VecF32 a) { store_u16(p, narrow_f16(a), 4); }
inline void store_as(BFloat16* p, VecF32 a) { store_u16(p, narrow_bf16(a), 4); }
inline void store_partial_as(float* p, int count, VecF32 a) { a.store_partial(p, count); }
inline void store_partial_as(double* p, int count, VecF64 a) { a.store_partial(p, count); }
inline void store_partial_as(Float16* p, int count, VecF32 a) { store_u16(p, narrow_f16(a), count); }
inline void store_partial_as(BFloat16* p, int count, VecF32 a) { store_u16(p, narrow_bf16(a), count); }

inline VecF32 evens(VecF32 a, VecF32 b) { return {vuzp1q_f32(a.v, b.v)}; }
inline VecF64 evens(VecF64 a, VecF64 b) { return {vuzp1q_f64(a.v, b.v)}; }
inline VecF32 odds(VecF32 a, VecF32 b) { return {vuzp2q_f32(a.v, b.v)}; }
inline VecF64 odds(VecF64 a, VecF64 b) { return {vuzp2q_f64(a.v, b.v)}; }
inline void interleave(VecF32 a, VecF32 b, VecF32* low, VecF32* high) {
  low->v = vzip1q_f32(a.v, b.v);
  high->v = vzip2q_f32(a.v, b.v);
}
inline void interleave(VecF64 a, VecF64 b, VecF64* low, VecF64* high) {
  low->v = vzip1q_f64(a.v, b.v);
  high->v = vzip2q_f64(a.v, b.v);
}

inline void stream_line(void* to, const void* from) { __builtin_memcpy(to, from, 64); }
inline void stream_end() {}

inline void transpose(VecF32 (&r)[4]) {
  const float64x2_t a = vreinterpretq_f64_f32(vtrn1q_f32(r[0].v, r[1].v));
  const float64x2_t b = vreinterpretq_f64_f32(vtrn2q_f32(r[0].v, r[1].v));
  const float64x2_t c = vreinterpretq_f64_f32(vtrn1q_f32(r[2].v, r[3].v));
  const float64x2_t d = vreinterpretq_f64_f32(vtrn2q_f32(r[2].v, r[3].v));
  r[0].v = vreinterpretq_f32_f64(vzip1q_f64(a, c));
  r[1].v = vreinterpretq_f32_f64(vzip1q_f64(b, d));
  r[2].v = vreinterpretq_f32_f64(vzip2q_f64(a, c));
  r[3].v = vreinterpretq_f32_f64(vzip2q_f64(b, d));
}
inline void transpose(VecF64 (&r)[2]) {
  const float64x2_t a = r[0].v, b = r[1].v;
  r[0].v = vzip1q_f64(a, b);
  r[1].v = vzip2q_f64(a, b);
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
