// Sums over everything but the channel axis (contract: ChannelReduction in kernel_table.h), for three terms:
//
//   Sum        sum += p
//   Moments    sum += p - centre      product += (p - centre)^2
//   Gradient   sum += p               product += p * (q - centre)
//
// and two layouts: each row is a channel ("planes"), or each column is one ("columns"). Sums of float run
// over at most a few dozen elements a lane before they are added up in double: in a plane block by block, in
// columns by the caller.
#pragma once

#include "cpu/kernel_table.h"

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

constexpr int kParts = 4;        // independent sums, enough to hide the latency of an addition
constexpr int64_t kRowBlock = 1024;  // elements of a row between two additions in double

template <class V>
V sum_of(V (&v)[kParts]) {
  return (v[0] + v[1]) + (v[2] + v[3]);
}

template <class Term, class V, class S>
void add_block(const S* p, const S* q, int64_t count, V centre, double* sum, double* product) {
  using T = typename V::Scalar;
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
    const int rest = static_cast<int>(count - j);
    T lanes[kLanes];
    centre.store(lanes);
    const V c = V::load_partial(lanes, rest);  // absent lanes: 0 - 0 adds nothing
    Term::add(load_partial_as(p + j, rest, V{}), Term::kSecond ? load_partial_as(q + j, rest, V{}) : c, c,
              s[kParts - 1], t[kParts - 1]);
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

// One vector of columns of kRows rows: the rows are added pairwise first, then to what is there.
template <class Term, int kRows, class V, class Load, class Store>
void add_rows(V centre, const Load& load, const Store& store) {
  V s[kParts], t[kParts];
#pragma GCC unroll 4
  for (int k = 0; k < kParts; ++k) {
    s[k] = t[k] = V::zero();
    if (k < kRows) {
      V p, q = centre;
      load(k, &p, &q);
      Term::add(p, q, centre, s[k], t[k]);
    }
  }
  store(sum_of(s), sum_of(t));
}

template <class Term, int kRows, class V, class S>
void add_sweep(const ChannelReduction& r, int64_t row) {
  using T = typename V::Scalar;
  constexpr int kLanes = V::kLanes;
  const S* p = static_cast<const S*>(r.first) + row * r.row_stride;
  const S* q = Term::kSecond ? static_cast<const S*>(r.second) + row * r.row_stride : nullptr;
  const T* centre = static_cast<const T*>(r.centre);
  T* sum = static_cast<T*>(r.sum);
  T* product = static_cast<T*>(r.product);
  int64_t j = 0;
  for (; j + kLanes <= r.cols; j += kLanes) {
    add_rows<Term, kRows>(
        centre ? V::load(centre + j) : V::zero(),
        [&](int k, V* a, V* b) {
          *a = load_as(p + k * r.row_stride + j, V{});
          if (Term::kSecond) *b = load_as(q + k * r.row_stride + j, V{});
        },
        [&](V s, V t) {
          (V::load(sum + j) + s).store(sum + j);
          if (Term::kProduct) (V::load(product + j) + t).store(product + j);
        });
  }
  if (j < r.cols) {
    const int rest = static_cast<int>(r.cols - j);
    add_rows<Term, kRows>(
        centre ? V::load_partial(centre + j, rest) : V::zero(),
        [&](int k, V* a, V* b) {
          *a = load_partial_as(p + k * r.row_stride + j, rest, V{});
          if (Term::kSecond) *b = load_partial_as(q + k * r.row_stride + j, rest, V{});
        },
        [&](V s, V t) {
          (V::load_partial(sum + j, rest) + s).store_partial(sum + j, rest);
          if (Term::kProduct) (V::load_partial(product + j, rest) + t).store_partial(product + j, rest);
        });
  }
}

template <class Term, class V, class S>
void reduce_columns(const ChannelReduction& r) {
  int64_t i = 0;
  for (; i + kParts <= r.rows; i += kParts) add_sweep<Term, kParts, V, S>(r, i);
  for (; i < r.rows; ++i) add_sweep<Term, 1, V, S>(r, i);
}

// Compute type to storage type, contiguous.
template <class V, class S>
void narrow_row(const void* compute, void* storage, int64_t count) {
  const auto* from = static_cast<const typename V::Scalar*>(compute);
  S* to = static_cast<S*>(storage);
  int64_t j = 0;
  for (; j + V::kLanes <= count; j += V::kLanes) store_as(to + j, V::load(from + j));
  const int rest = static_cast<int>(count - j);
  if (rest) store_partial_as(to + j, rest, V::load_partial(from + j, rest));
}

template <class V, class S>
constexpr void fill_channel_kernels(ChannelKernels& k, Dtype t) {
  const int i = static_cast<int>(t);
  k.sum[0][i] = reduce_planes<Sum, V, S>;
  k.sum[1][i] = reduce_columns<Sum, V, S>;
  k.moments[0][i] = reduce_planes<Moments, V, S>;
  k.moments[1][i] = reduce_columns<Moments, V, S>;
  k.gradient[0][i] = reduce_planes<Gradient, V, S>;
  k.gradient[1][i] = reduce_columns<Gradient, V, S>;
  k.narrow[i] = narrow_row<V, S>;
}

constexpr ChannelKernels channel_kernels() {
  ChannelKernels k{};
  fill_channel_kernels<VecF32, float>(k, Dtype::float32);
  fill_channel_kernels<VecF64, double>(k, Dtype::float64);
  fill_channel_kernels<VecF32, Float16>(k, Dtype::float16);
  fill_channel_kernels<VecF32, BFloat16>(k, Dtype::bfloat16);
  return k;
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
