// What the drivers of packed products share.
#pragma once

#include <algorithm>
#include <vector>

#include "core/buffer_pool.h"
#include "core/integers.h"
#include "cpu/blocking.h"
#include "cpu/kernel_table.h"
#include "cpu/product.h"

namespace fastconv::cpu {

// Rough, for the question whether a thread is worth waking.
constexpr double kNsPerFlop = 0.02, kNsPerElement = 0.5;

template <class T>
const GemmKernels& kernels_of(const KernelTable& table) {
  return table.gemm[sizeof(T) == 8];
}

inline std::vector<Figure> figures_of(const GemmBlocking& b) {
  return {{"depth", b.depth},
          {"rows", b.rows},
          {"cols", b.cols},
          {"inner_rows", b.inner_rows},
          {"tile_rows", b.tile_rows}};
}

// Copies blocks that are of the compute type already.
template <class T>
auto copy_of(const KernelTable& table) {
  return table.copy_block[static_cast<int>(sizeof(T) == 8 ? Dtype::float64 : Dtype::float32)];
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

// Where the columns of a product lie in memory: a panel's columns from its start on, row k at offsets[k] from
// there.
struct Columns {
  std::vector<ColumnPanel> panels;
  std::vector<int64_t> offsets;

  // Panels one after the other, each depth x nr.
  void set_packed(int64_t cols, int64_t depth, int nr) { set(cols, depth, nr, depth, nr); }
  // Panels side by side, in rows of `pitch`.
  void set_in_place(int64_t cols, int64_t depth, int nr, int64_t pitch) { set(cols, depth, nr, 1, pitch); }

 private:
  void set(int64_t cols, int64_t depth, int nr, int64_t column_pitch, int64_t row_pitch) {
    panels.clear();
    for (int64_t n = 0; n < cols; n += nr)
      panels.push_back({n * column_pitch, static_cast<int>(std::min<int64_t>(nr, cols - n))});
    offsets.resize(static_cast<std::size_t>(depth));
    for (int64_t k = 0; k < depth; ++k) offsets[static_cast<std::size_t>(k)] = k * row_pitch;
  }
};

// Stretches [begin, end) of a list.
inline Ahead part_of(const Ahead& all, int64_t begin, int64_t end) {
  return {all.first + begin * all.pitch, all.pitch, end - begin, all.bytes};
}

// Where the panels of a product's last chunk go: those at kNowhere to C, the others to `out` + their own
// offset, with the epilogue applied.
template <class T>
struct StoredPanels {
  static constexpr int64_t kNowhere = INT64_MIN;
  std::vector<int64_t> offset;
  T* out = nullptr;
  const int64_t* row_offset = nullptr;
  const T *row_bias = nullptr, *col_bias = nullptr;
  Activation activation = Activation::none;

  bool has(std::size_t panel) const { return !offset.empty() && offset[panel] != kNowhere; }
  PanelStore store(std::size_t panel, int64_t row, int nr) const {
    return {out + offset[panel], row_offset + row, row_bias ? row_bias + row : nullptr,
            col_bias ? col_bias + static_cast<int64_t>(panel) * nr : nullptr, activation};
  }
};

struct NothingAhead {
  Ahead operator()(std::size_t, int64_t, int64_t) const { return {}; }
};

// c (+)= A * B for a block, in chains of at most b.chain terms; the panels lie `rows` * nr apart in c.
// ahead_of(panel, m, end) says what to ask for during rows [m, end) of a panel.
template <class T, class AheadOf = NothingAhead>
void multiply_block(const GemmKernels& k, const GemmBlocking& b, const T* a, const T* packed,
                    const Columns& columns, T* c, int64_t rows, int64_t depth, bool accumulate,
                    const AheadOf& ahead_of = {}, const StoredPanels<T>* stored = nullptr) {
  for (int64_t m = 0; m < rows; m += b.inner_rows) {
    const int64_t part = std::min(b.inner_rows, rows - m);
    T* to = c + m * k.nr;
    for (std::size_t i = 0; i < columns.panels.size(); ++i, to += rows * k.nr) {
      const ColumnPanel& panel = columns.panels[i];
      const bool stores = stored && stored->has(i);
      const PanelStore store = stores ? stored->store(i, m, k.nr) : PanelStore{};
      k.multiply_panel({a + m * k.row_pitch, packed + panel.start, columns.offsets.data(), to, part, depth,
                        b.chain, b.tile_rows, panel.columns, accumulate, ahead_of(i, m, m + part),
                        stores ? &store : nullptr});
    }
  }
}

// The bias in the compute type, side by side: the caller's own where it is so, or a copy. None stays null.
template <class T>
struct WideBias {
  WideBias(const KernelTable& table, const Epilogue& e, Dtype dtype, int64_t channels)
      : data(static_cast<const T*>(e.bias)) {
    if (!e.bias || (compute_dtype(dtype) == dtype && e.bias_stride == 1)) return;
    copy = Buffer(channels * static_cast<int64_t>(sizeof(T)));
    table.copy_block[static_cast<int>(dtype)](
        {e.bias, 0, e.bias_stride, copy.data(), 0, 1, 1, channels, false});
    data = copy.as<T>();
  }
  Buffer copy;
  const T* data;
};

}  // namespace fastconv::cpu
