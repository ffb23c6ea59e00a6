// The vector type of one instruction set as functions on arrays of `lanes` elements, so that the checks
// themselves are compiled once, for any machine. vec_operations.cpp fills these tables, once per instruction
// set.
#pragma once

#include "core/dtype.h"

namespace fastconv::test {

template <class T>
struct VecArithmetic {
  int lanes;
  void (*zero)(T* r);
  void (*all)(T x, T* r);
  void (*load)(const T* p, T* r);
  void (*load_partial)(const T* p, int count, T* r);
  void (*store)(T* p, const T* a);
  void (*store_partial)(T* p, int count, const T* a);

  void (*add)(const T* a, const T* b, T* r);
  void (*subtract)(const T* a, const T* b, T* r);
  void (*multiply)(const T* a, const T* b, T* r);
  void (*divide)(const T* a, const T* b, T* r);
  void (*min)(const T* a, const T* b, T* r);
  void (*max)(const T* a, const T* b, T* r);
  void (*copysign)(const T* a, const T* b, T* r);
  void (*sqrt)(const T* a, T* r);
  void (*abs)(const T* a, T* r);
  void (*round)(const T* a, T* r);
  void (*exp2_integer)(const T* a, T* r);
  void (*fma)(const T* a, const T* b, const T* c, T* r);
  void (*fnma)(const T* a, const T* b, const T* c, T* r);
  // select(<mask>, a, b)
  void (*select_less)(const T* a, const T* b, T* r);
  void (*select_equal)(const T* a, const T* b, T* r);
  void (*select_nan)(const T* a, const T* b, T* r);            // of is_nan(a)
  void (*select_less_or_equal)(const T* a, const T* b, T* r);  // of a < b | a == b
  void (*select_less_and_nan)(const T* a, const T* b, T* r);   // of a < b & is_nan(a)
  T (*reduce_add)(const T* a);
  void (*evens)(const T* a, const T* b, T* r);
  void (*odds)(const T* a, const T* b, T* r);
  void (*interleave)(const T* a, const T* b, T* low, T* high);
  void (*transpose)(T* square);  // lanes x lanes, in place
};

template <class S>
struct VecStorage {
  void (*load_as)(const S* p, float* r);
  void (*load_partial_as)(const S* p, int count, float* r);
  void (*store_as)(S* p, const float* a);
  void (*store_partial_as)(S* p, int count, const float* a);
};

struct VecOperations {
  const char* isa;
  VecArithmetic<float> f32;
  VecArithmetic<double> f64;
  VecStorage<float> as_f32;
  VecStorage<Float16> as_f16;
  VecStorage<BFloat16> as_bf16;
};

}  // namespace fastconv::test
