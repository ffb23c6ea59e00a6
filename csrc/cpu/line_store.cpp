#include "cpu/line_store.h"

#include <algorithm>

namespace fastconv::cpu {

template <class T>
void store_line(const KernelTable& table, Dtype dtype, T* sums, int64_t count, void* out, int64_t stride,
                T bias, Activation activation) {
  constexpr int kMostColumns = 64, kRows = 64;
  const int nr = table.gemm[sizeof(T) == 8].nr;
  const auto store = table.store_panel[static_cast<int>(dtype)];
  int64_t row_offset[kRows], col_offset[kMostColumns];
  T col_bias[kMostColumns];
  for (int i = 0; i < nr; ++i) {
    col_offset[i] = i * stride;
    col_bias[i] = bias;
  }
  for (int i = 0; i < kRows; ++i) row_offset[i] = i * nr * stride;
  for (int64_t done = 0; done < count;) {
    const int64_t left = count - done, rows = std::min<int64_t>(left / nr, kRows);
    const int columns = rows ? nr : static_cast<int>(left);
    store({sums + done, rows ? rows : 1, columns, element(out, dtype, done * stride), row_offset, col_offset,
           stride == 1, nullptr, bias != T(0) ? col_bias : nullptr, activation});
    done += rows ? rows * nr : columns;
  }
}

template void store_line<float>(const KernelTable&, Dtype, float*, int64_t, void*, int64_t, float,
                                Activation);
template void store_line<double>(const KernelTable&, Dtype, double*, int64_t, void*, int64_t, double,
                                 Activation);

}  // namespace fastconv::cpu
