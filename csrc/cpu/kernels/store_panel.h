// The epilogue (contract: PanelStore in kernel_table.h): bias and activation on a panel of accumulators, then
// the store in the storage type, as vectors where the output's columns are contiguous, else element by
// element.
#pragma once

#include "cpu/kernel_table.h"
#include "cpu/kernels/activations.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

template <class V, class S, int kWidth>
void store_panel(const PanelStore& p) {
  using T = typename V::Scalar;
  const T* row_bias = static_cast<const T*>(p.row_bias);
  T col_bias[kWidth] = {};
  if (p.col_bias) {
    for (int n = 0; n < p.columns; ++n) col_bias[n] = static_cast<const T*>(p.col_bias)[n];
  }
  T* c = static_cast<T*>(p.c);
  S* out = static_cast<S*>(p.out);
  for (int64_t m = 0; m < p.rows; ++m, c += kWidth) {
    const V bias = V::all(row_bias ? row_bias[m] : T(0));
    S* row = out + p.row_offset[m] + p.col_offset[0];
    for (int n = 0; n < p.columns; n += V::kLanes) {
      V x = V::load(c + n);
      if (row_bias || p.col_bias) x = x + (bias + V::load(col_bias + n));
      x = activate(p.activation, x);
      if (!p.columns_contiguous) {
        x.store(c + n);
      } else if (n + V::kLanes <= p.columns) {
        store_as(row + n, x);
      } else {
        store_partial_as(row + n, p.columns - n, x);
      }
    }
    if (!p.columns_contiguous) {
      S* base = out + p.row_offset[m];
      for (int n = 0; n < p.columns; ++n) store_partial_as(base + p.col_offset[n], 1, V::all(c[n]));
    }
  }
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
