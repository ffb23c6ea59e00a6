// The last vector of a row, of which only some lanes count.
#pragma once

#include "cpu/kernel_table.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

template <class V>
int lanes_left(int64_t done, int64_t all) {
  return all - done < V::kLanes ? static_cast<int>(all - done) : V::kLanes;
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
