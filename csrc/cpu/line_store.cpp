#include "cpu/line_store.h"

#include <algorithm>

namespace fastconv::cpu {

template <class T>
void store_line(const KernelTable& table, Dtype dtype, T* sums, int64_t count, void* out, int64_t stride,
                T bias, Activation activation) {
  constexpr int kRows = 64;
  const int nr = table.gemm[sizeof(T) == 8].nr;
  int64_t row_offset[kRows];
  T row_bias[kRows];
  for (int i = 0; i < kRows; ++i) {
    row_offset[i] = i * nr * stride;
    row_bias[i] = bias;
  }
  for (int64_t done = 0; done < count;) {
    const int64_t left = count - done, rows = std::min<int64_t>(left / nr, kRows);
    const StorePiece piece{0, 0, 0, rows ? nr : static_cast<int>(left)};
    table.store_block[static_cast<int>(dtype)](
        {sums + done, rows ? rows : 1, element(out, dtype, done * stride), row_offset, &piece, 1, stride,
         bias != T(0) ? row_bias : nullptr, nullptr, activation});
    done += rows ? rows * nr : left;
  }
}

template void store_line<float>(const KernelTable&, Dtype, float*, int64_t, void*, int64_t, float,
                                Activation);
template void store_line<double>(const KernelTable&, Dtype, double*, int64_t, void*, int64_t, double,
                                 Activation);

}  // namespace fastconv::cpu
