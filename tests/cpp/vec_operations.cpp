// Compiled once per instruction set, like kernel_table.cpp: nothing but the getter may leave this object.
#include "vec_operations.h"

// clang-format off: a path is no division
#define FASTCONV_QUOTE(text) #text
#define FASTCONV_QUOTED(text) FASTCONV_QUOTE(text)
#define FASTCONV_VEC_HEADER_OF(isa) cpu/kernels/vec_##isa.h
#define FASTCONV_VEC_HEADER(isa) FASTCONV_VEC_HEADER_OF(isa)
#include FASTCONV_QUOTED(FASTCONV_VEC_HEADER(FASTCONV_ISA))
// clang-format on

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

template <class V, class T = typename V::Scalar>
constexpr test::VecArithmetic<T> arithmetic() {
  using P = const T*;
  test::VecArithmetic<T> t{};
  t.lanes = V::kLanes;
  t.zero = [](T* r) { V::zero().store(r); };
  t.all = [](T x, T* r) { V::all(x).store(r); };
  t.load = [](P p, T* r) { V::load(p).store(r); };
  t.load_partial = [](P p, int count, T* r) { V::load_partial(p, count).store(r); };
  t.store = [](T* p, P a) { V::load(a).store(p); };
  t.store_partial = [](T* p, int count, P a) { V::load(a).store_partial(p, count); };

  t.add = [](P a, P b, T* r) { (V::load(a) + V::load(b)).store(r); };
  t.subtract = [](P a, P b, T* r) { (V::load(a) - V::load(b)).store(r); };
  t.multiply = [](P a, P b, T* r) { (V::load(a) * V::load(b)).store(r); };
  t.divide = [](P a, P b, T* r) { (V::load(a) / V::load(b)).store(r); };
  t.min = [](P a, P b, T* r) { min(V::load(a), V::load(b)).store(r); };
  t.max = [](P a, P b, T* r) { max(V::load(a), V::load(b)).store(r); };
  t.copysign = [](P a, P b, T* r) { copysign(V::load(a), V::load(b)).store(r); };
  t.sqrt = [](P a, T* r) { sqrt(V::load(a)).store(r); };
  t.abs = [](P a, T* r) { abs(V::load(a)).store(r); };
  t.round = [](P a, T* r) { round(V::load(a)).store(r); };
  t.exp2_integer = [](P a, T* r) { exp2_integer(V::load(a)).store(r); };
  t.fma = [](P a, P b, P c, T* r) { fma(V::load(a), V::load(b), V::load(c)).store(r); };
  t.fnma = [](P a, P b, P c, T* r) { fnma(V::load(a), V::load(b), V::load(c)).store(r); };

  t.select_less = [](P a, P b, T* r) {
    const V x = V::load(a), y = V::load(b);
    select(x < y, x, y).store(r);
  };
  t.select_equal = [](P a, P b, T* r) {
    const V x = V::load(a), y = V::load(b);
    select(x == y, x, y).store(r);
  };
  t.select_nan = [](P a, P b, T* r) {
    const V x = V::load(a), y = V::load(b);
    select(is_nan(x), x, y).store(r);
  };
  t.select_less_or_equal = [](P a, P b, T* r) {
    const V x = V::load(a), y = V::load(b);
    select((x < y) | (x == y), x, y).store(r);
  };
  t.select_less_and_nan = [](P a, P b, T* r) {
    const V x = V::load(a), y = V::load(b);
    select((x < y) & is_nan(x), x, y).store(r);
  };
  t.reduce_add = [](P a) { return reduce_add(V::load(a)); };
  t.evens = [](P a, P b, T* r) { evens(V::load(a), V::load(b)).store(r); };
  t.odds = [](P a, P b, T* r) { odds(V::load(a), V::load(b)).store(r); };
  t.interleave = [](P a, P b, T* low, T* high) {
    V first, second;
    interleave(V::load(a), V::load(b), &first, &second);
    first.store(low);
    second.store(high);
  };
  t.transpose = [](T* square) {
    V rows[V::kLanes];
    for (int i = 0; i < V::kLanes; ++i) rows[i] = V::load(square + i * V::kLanes);
    transpose(rows);
    for (int i = 0; i < V::kLanes; ++i) rows[i].store(square + i * V::kLanes);
  };
  return t;
}

template <class S>
constexpr test::VecStorage<S> storage() {
  test::VecStorage<S> t{};
  t.load_as = [](const S* p, float* r) { load_as(p, VecF32{}).store(r); };
  t.load_partial_as = [](const S* p, int count, float* r) { load_partial_as(p, count, VecF32{}).store(r); };
  t.store_as = [](S* p, const float* a) { store_as(p, VecF32::load(a)); };
  t.store_partial_as = [](S* p, int count, const float* a) { store_partial_as(p, count, VecF32::load(a)); };
  return t;
}

constexpr test::VecOperations kOperations = {FASTCONV_QUOTED(FASTCONV_ISA),
                                             arithmetic<VecF32>(),
                                             arithmetic<VecF64>(),
                                             storage<float>(),
                                             storage<Float16>(),
                                             storage<BFloat16>()};

}  // namespace

const test::VecOperations& vec_operations();
const test::VecOperations& vec_operations() { return kOperations; }

}  // namespace fastconv::cpu::FASTCONV_ISA
