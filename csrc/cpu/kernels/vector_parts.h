// The last vector of a row, where it is not a whole one.
#pragma once

#include "core/dtype.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

template <class V>
int lanes_left(int64_t done, int64_t all) {
  return all - done < V::kLanes ? static_cast<int>(all - done) : V::kLanes;
}
// Where a vector that would begin at i begins instead: over its neighbours rather than beyond the end.
template <class V>
int64_t vector_start(int64_t i, int64_t all) {
  if (all < V::kLanes) return 0;
  return i + V::kLanes <= all ? i : all - V::kLanes;
}
template <class V, class S>
V load_some(const S* p, int count) {
  return count == V::kLanes ? load_as(p, V{}) : load_partial_as(p, count, V{});
}
template <class V, class S>
void store_some(S* p, int count, V v) {
  if (count == V::kLanes) {
    store_as(p, v);
  } else {
    store_partial_as(p, count, v);
  }
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
