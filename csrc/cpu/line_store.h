// A line of sums, written in the storage type: store_block seen as one long row.
#pragma once

#include "core/tensor_view.h"
#include "cpu/kernel_table.h"

namespace fastconv::cpu {

// out[i * stride] = activation(sums[i] + bias) for i < count. `sums` is overwritten as scratch; T is the
// compute type.
template <class T>
void store_line(const KernelTable& table, Dtype dtype, T* sums, int64_t count, void* out, int64_t stride,
                T bias, Activation activation);

}  // namespace fastconv::cpu
