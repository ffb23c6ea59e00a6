// What the drivers of packed products share.
#pragma once

#include <algorithm>

#include "core/integers.h"
#include "cpu/blocking.h"
#include "cpu/kernel_table.h"

namespace fastconv::cpu {

// Rough, for the question whether a thread is worth waking.
constexpr double kNsPerFlop = 0.02, kNsPerElement = 0.5;

template <class T>
const GemmKernels& kernels_of(const KernelTable& table) {
  return table.gemm[sizeof(T) == 8];
}

// A bump allocator over one block; every piece starts on a cache line.
class Carver {
 public:
  explicit Carver(void* base = nullptr) : base_(static_cast<char*>(base)) {}
  template <class T>
  T* take(int64_t count) {
    T* p = reinterpret_cast<T*>(base_ + used_);
    used_ += (count * static_cast<int64_t>(sizeof(T)) + 63) / 64 * 64;
    return p;
  }
  int64_t used() const { return used_; }

 private:
  char* base_;
  int64_t used_ = 0;
};

// The columns of a product in memory: panel p starts at data + p * panel_stride, its row k at offsets[k] from
// there.
template <class T>
struct PackedColumns {
  const T* data;
  int64_t panel_stride;
  const int64_t* offsets;

  // Panels one after the other, each depth x nr. `offsets` has room for depth entries.
  static PackedColumns panels(const T* data, const GemmKernels& k, int64_t depth, int64_t* offsets) {
    for (int64_t i = 0; i < depth; ++i) offsets[i] = i * k.nr;
    return {data, depth * k.nr, offsets};
  }
};

// c (+)= A * B for a block; the columns' panels lie `rows` * nr apart in c.
template <class T>
void multiply_block(const GemmKernels& k, const GemmBlocking& b, const T* a, const PackedColumns<T>& columns,
                    T* c, int64_t rows, int64_t cols, int64_t depth, bool accumulate) {
  for (int64_t m = 0; m < rows; m += b.inner_rows) {
    const int64_t part = std::min(b.inner_rows, rows - m);
    for (int64_t n = 0; n < cols; n += k.nr) {
      k.multiply_panel({a + m * k.row_pitch, columns.data + n / k.nr * columns.panel_stride, columns.offsets,
                        c + n * rows + m * k.nr, part, depth, b.tile_rows,
                        static_cast<int>(std::min<int64_t>(k.nr, cols - n)), accumulate});
    }
  }
}

}  // namespace fastconv::cpu
