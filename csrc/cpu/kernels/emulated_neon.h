// NEON on any machine, for tests: SIMDe's portable intrinsics under their native names, and those it lacks.
#pragma once

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/arm/neon.h>

#include <cmath>

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

inline float32x4_t vdivq_f32(float32x4_t a, float32x4_t b) {
  float x[4], y[4];
  vst1q_f32(x, a);
  vst1q_f32(y, b);
  for (int i = 0; i < 4; ++i) x[i] /= y[i];
  return vld1q_f32(x);
}
inline float64x2_t vdivq_f64(float64x2_t a, float64x2_t b) {
  double x[2], y[2];
  vst1q_f64(x, a);
  vst1q_f64(y, b);
  for (int i = 0; i < 2; ++i) x[i] /= y[i];
  return vld1q_f64(x);
}
inline float32x4_t vsqrtq_f32(float32x4_t a) {
  float x[4];
  vst1q_f32(x, a);
  for (int i = 0; i < 4; ++i) x[i] = ::sqrtf(x[i]);
  return vld1q_f32(x);
}
inline float64x2_t vsqrtq_f64(float64x2_t a) {
  double x[2];
  vst1q_f64(x, a);
  for (int i = 0; i < 2; ++i) x[i] = ::sqrt(x[i]);
  return vld1q_f64(x);
}
inline float32x4_t vfmsq_f32(float32x4_t c, float32x4_t a, float32x4_t b) {
  return vfmaq_f32(c, vnegq_f32(a), b);
}
inline float64x2_t vfmsq_f64(float64x2_t c, float64x2_t a, float64x2_t b) {
  return vfmaq_f64(c, vnegq_f64(a), b);
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
