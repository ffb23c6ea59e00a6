// One loop body for whole vectors and for the tail: body(j, lanes) works on the elements from j on through
// lanes.load() and lanes.store(), which convert from and to the storage type, so that an element comes out
// the same wherever it lies.
#pragma once

#include "core/dtype.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

template <class V>
struct AllLanes {
  static constexpr int count = V::kLanes;
  template <class S>
  V load(const S* p) const {
    return load_as(p, V{});
  }
  template <class S>
  void store(S* p, V x) const {
    store_as(p, x);
  }
  V padded(V x, V) const { return x; }
};

template <class V>
struct FirstLanes {
  int count;
  template <class S>
  V load(const S* p) const {
    return load_partial_as(p, count, V{});
  }
  template <class S>
  void store(S* p, V x) const {
    store_partial_as(p, count, x);
  }
  V padded(V x, V other) const {  // `other` in the absent lanes, for sums and maxima
    typename V::Scalar lanes[V::kLanes];
    other.store(lanes);
    x.store_partial(lanes, count);
    return V::load(lanes);
  }
};

template <class V, class Body>
void for_each_vector(int64_t count, const Body& body) {
  int64_t j = 0;
  for (; j + V::kLanes <= count; j += V::kLanes) body(j, AllLanes<V>{});
  if (j < count) body(j, FirstLanes<V>{static_cast<int>(count - j)});
}

// A sum over a long row: term(j, lanes) is added up in the compute type over blocks, the blocks in double.
template <class V, class Term>
double sum_blocks(int64_t count, const Term& term) {
  constexpr int64_t kBlock = 1024;
  double total = 0;
  for (int64_t start = 0; start < count; start += kBlock) {
    V sum = V::zero();
    for_each_vector<V>(count - start < kBlock ? count - start : kBlock, [&](int64_t j, auto lanes) {
      sum = sum + lanes.padded(term(start + j, lanes), V::zero());
    });
    total += static_cast<double>(reduce_add(sum));
  }
  return total;
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
