// Sums over everything but the channel axis (ChannelReduction in contracts/layers.h), for three terms:
//
//   Sum        sum += p
//   Moments    sum += p - centre      product += (p - centre)^2
//   Gradient   sum += p               product += p * (q - centre)
//
// and two layouts: each row is a channel ("planes"), or each column is one ("columns"). Sums of float run
// over at most a few dozen elements a lane before they are added up in double: in a plane block by block, in
// columns by the caller.
#pragma once

#include "cpu/contracts/layers.h"
#include "cpu/kernels/vector_loop.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

struct Sum {
  static constexpr bool kSecond = false, kProduct = false;
  template <class V>
  static void add(V p, V, V, V& sum, V&) {
    sum = sum + p;
  }
};
struct Moments {
  static constexpr bool kSecond = false, kProduct = true;
  template <class V>
  static void add(V p, V, V centre, V& sum, V& product) {
    const V d = p - centre;
    sum = sum + d;
    product = fma(d, d, product);
  }
};
struct Gradient {
  static constexpr bool kSecond = true, kProduct = true;
  template <class V>
  static void add(V p, V q, V centre, V& sum, V& product) {
    sum = sum + p;
    product = fma(p, q - centre, product);
  }
};

constexpr int kParts = 4;            // independent sums, enough to hide the latency of an addition
constexpr int64_t kRowBlock = 1024;  // elements of a row between two additions in double

template <class V>
V sum_of(V (&v)[kParts]) {
  return (v[0] + v[1]) + (v[2] + v[3]);
}

template <class Term, class V, class S>
void add_block(const S* p, const S* q, int64_t count, V centre, double* sum, double* product) {
  constexpr int kLanes = V::kLanes;
  V s[kParts], t[kParts];
  for (int k = 0; k < kParts; ++k) s[k] = t[k] = V::zero();
  const auto second = [&](int64_t j) { return Term::kSecond ? load_as(q + j, V{}) : centre; };
  int64_t j = 0;
  for (; j + kParts * kLanes <= count; j += kParts * kLanes) {
#pragma GCC unroll 4
    for (int k = 0; k < kParts; ++k)
      Term::add(load_as(p + j + k * kLanes, V{}), second(j + k * kLanes), centre, s[k], t[k]);
  }
  for (int k = 0; j + kLanes <= count; j += kLanes, ++k)
    Term::add(load_as(p + j, V{}), second(j), centre, s[k], t[k]);
  if (j < count) {
    const FirstLanes<V> lanes{static_cast<int>(count - j)};
    const V c = lanes.padded(centre, V::zero());  // absent lanes: 0 - 0 adds nothing
    Term::add(lanes.load(p + j), Term::kSecond ? lanes.load(q + j) : c, c, s[kParts - 1], t[kParts - 1]);
  }
  *sum += static_cast<double>(reduce_add(sum_of(s)));
  if (Term::kProduct) *product += static_cast<double>(reduce_add(sum_of(t)));
}

template <class Term, class V, class S>
void reduce_planes(const ChannelReduction& r) {
  using T = typename V::Scalar;
  double* sum = static_cast<double*>(r.sum);
  double* product = static_cast<double*>(r.product);
  for (int64_t i = 0; i < r.rows; ++i) {
    const S* p = static_cast<const S*>(r.first) + i * r.row_stride;
    const S* q = Term::kSecond ? static_cast<const S*>(r.second) + i * r.row_stride : nullptr;
    const V centre = r.centre ? V::all(static_cast<const T*>(r.centre)[i]) : V::zero();
    for (int64_t j = 0; j < r.cols; j += kRowBlock) {
      const int64_t count = r.cols - j < kRowBlock ? r.cols - j : kRowBlock;
      add_block<Term, V, S>(p + j, Term::kSecond ? q + j : nullptr, count, centre, sum + i,
                            Term::kProduct ? product + i : nullptr);
    }
  }
}

// Rows are added pairwise first, then to what is there.
template <class Term, int kRows, class V, class S>
void add_sweep(const ChannelReduction& r, int64_t row) {
  using T = typename V::Scalar;
  const S* p = static_cast<const S*>(r.first) + row * r.row_stride;
  const S* q = Term::kSecond ? static_cast<const S*>(r.second) + row * r.row_stride : nullptr;
  const T* centres = static_cast<const T*>(r.centre);
  T* sum = static_cast<T*>(r.sum);
  T* product = static_cast<T*>(r.product);
  for_each_vector<V>(r.cols, [&](int64_t j, auto lanes) {
    const V centre = centres ? lanes.load(centres + j) : V::zero();
    V s[kParts], t[kParts];
#pragma GCC unroll 4
    for (int k = 0; k < kParts; ++k) {
      s[k] = t[k] = V::zero();
      if (k < kRows) {
        const int64_t at = k * r.row_stride + j;
        Term::add(lanes.load(p + at), Term::kSecond ? lanes.load(q + at) : centre, centre, s[k], t[k]);
      }
    }
    lanes.store(sum + j, lanes.load(sum + j) + sum_of(s));
    if (Term::kProduct) lanes.store(product + j, lanes.load(product + j) + sum_of(t));
  });
}

template <class Term, class V, class S>
void reduce_columns(const ChannelReduction& r) {
  int64_t i = 0;
  for (; i + kParts <= r.rows; i += kParts) add_sweep<Term, kParts, V, S>(r, i);
  for (; i < r.rows; ++i) add_sweep<Term, 1, V, S>(r, i);
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
