// Activations on whole vectors, as the epilogues and the elementwise kernels apply them.
#pragma once

#include "cpu/kernel_table.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

template <class V>
V activate(Activation kind, V x) {
  switch (kind) {
    case Activation::relu: return max(V::zero(), x);
    default: return x;
  }
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
