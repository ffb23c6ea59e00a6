// The matrix kernels of every table against naive loops: packing (copy_block, copy_turned), products
// (multiply_panel, correlate), epilogues (store_block, store_turned). All of it is exact, so everything is
// compared bit by bit, and so are the bytes around each output.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "check.h"
#include "runnable_isas.h"
#include "storage.h"

namespace fastconv::test {
namespace {

using cpu::BlockCopy;
using cpu::PanelProduct;
using std::int64_t;

const char* isa_name = "";  // of the table under test, for messages

template <class S>
constexpr Dtype dtype_of() {
  if constexpr (std::is_same_v<S, double>) return Dtype::float64;
  if constexpr (std::is_same_v<S, Float16>) return Dtype::float16;
  if constexpr (std::is_same_v<S, BFloat16>) return Dtype::bfloat16;
  return Dtype::float32;
}

template <class S>
using ComputeOf = std::conditional_t<std::is_same_v<S, double>, double, float>;

template <class S>
std::vector<S> random_values(std::size_t count, std::uint64_t seed) {
  Values random(seed);
  std::vector<S> v(count);
  for (S& x : v) x = narrow<S>(static_cast<ComputeOf<S>>(random()));
  return v;
}

template <class T>
bool same_bytes(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

// One way to lay out a block of rows x cols elements; negative strides walk backwards from its far end.
struct Strides {
  int64_t row, col;
};
std::vector<Strides> layouts(int64_t rows, int64_t cols) {
  return {{cols, 1},  {cols + 3, 1}, {1, rows},      {1, rows + 5}, {2 * cols, 2},
          {-cols, 1}, {cols, -1},    {-1, rows + 1}, {0, 1},        {1, 0}};
}
int64_t lowest(const Strides& s, int64_t rows, int64_t cols) {
  return std::min<int64_t>(0, s.row * (rows - 1)) + std::min<int64_t>(0, s.col * (cols - 1));
}
int64_t extent(const Strides& s, int64_t rows, int64_t cols) {
  return std::abs(s.row) * (rows - 1) + std::abs(s.col) * (cols - 1) + 1;
}

constexpr int64_t kGuard = 40;  // elements around each output

template <class S>
void check_copy(const cpu::KernelTable& table, int64_t rows, int64_t cols, const Strides& from,
                const Strides& to, bool add) {
  using T = ComputeOf<S>;
  const auto src = random_values<S>(static_cast<std::size_t>(extent(from, rows, cols)), 3);
  const auto before = random_values<T>(static_cast<std::size_t>(extent(to, rows, cols) + 2 * kGuard), 4);
  std::vector<T> got = before, want = before;
  const int64_t src_start = -lowest(from, rows, cols), dst_start = kGuard - lowest(to, rows, cols);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < cols; ++j) {
      T& d = want[static_cast<std::size_t>(dst_start + i * to.row + j * to.col)];
      const T x = widen(src[static_cast<std::size_t>(src_start + i * from.row + j * from.col)]);
      d = add ? d + x : x;
    }
  table.copy_block[static_cast<int>(dtype_of<S>())](BlockCopy{
      src.data() + src_start, from.row, from.col, got.data() + dst_start, to.row, to.col, rows, cols, add});
  CHECK(same_bytes(got, want), "%s copy_block %s %lldx%lld from (%lld, %lld) to (%lld, %lld) add %d",
        isa_name, name_of(dtype_of<S>()), static_cast<long long>(rows), static_cast<long long>(cols),
        static_cast<long long>(from.row), static_cast<long long>(from.col), static_cast<long long>(to.row),
        static_cast<long long>(to.col), add);
}

template <class S>
void check_copies(const cpu::KernelTable& table, int lanes) {
  for (const int64_t rows : {1, 2, lanes - 1, lanes, lanes + 1, 2 * lanes + 3})
    for (const int64_t cols : {1, 3, lanes, lanes + 1, 3 * lanes - 1})
      for (const Strides& from : layouts(rows, cols))
        for (const Strides& to : layouts(rows, cols)) {
          if (to.row == 0 || to.col == 0) continue;  // outputs don't overlap
          for (const bool add : {false, true}) check_copy<S>(table, rows, cols, from, to, add);
        }
  const BlockCopy nothing{nullptr, 1, 1, nullptr, 1, 1, 0, 5, false};
  table.copy_block[static_cast<int>(dtype_of<S>())](nothing);
}

// Lines in reverse, turned over into positions with a gap in their middle.
template <class S>
void check_copy_turned(const cpu::KernelTable& table, int lines, int64_t count) {
  using T = ComputeOf<S>;
  const int64_t nr = table.gemm[std::is_same_v<T, double>].nr, stride = count + 3;
  const auto src = random_values<S>(static_cast<std::size_t>((lines - 1) * stride + count), 11);
  const auto before = random_values<T>(static_cast<std::size_t>((count + 2) * nr + 2 * kGuard), 12);
  std::vector<int64_t> offset;
  for (int64_t j = 0; j < count; ++j) offset.push_back((j < count / 2 ? j : j + 2) * nr);
  std::vector<T> got = before, want = before;
  const S* first = src.data() + (lines - 1) * stride;
  for (int64_t j = 0; j < count; ++j)
    for (int c = 0; c < lines; ++c)
      want[static_cast<std::size_t>(kGuard + offset[static_cast<std::size_t>(j)] + c)] =
          widen(first[j - c * stride]);
  table.copy_turned[static_cast<int>(dtype_of<S>())](
      cpu::TurnedCopy{first, -stride, lines, count, got.data() + kGuard, offset.data()});
  for (int64_t j = 0; j < count; ++j)  // lanes without a line may hold anything
    for (int64_t c = lines; c < nr; ++c) {
      const auto at = static_cast<std::size_t>(kGuard + offset[static_cast<std::size_t>(j)] + c);
      want[at] = got[at];
    }
  CHECK(same_bytes(got, want), "%s copy_turned %s lines %d count %lld", isa_name, name_of(dtype_of<S>()),
        lines, static_cast<long long>(count));
}

// One panel in memory: A with its pitch (what lies behind `depth` is poison), B, and C between guards.
template <class T>
struct Panel {
  int nr, pitch;
  std::vector<T> a, b, c;
  std::vector<int64_t> b_offset;  // rows of B in reverse and a vector apart

  Panel(const cpu::GemmKernels& g, int64_t rows, int64_t depth, int columns)
      : nr(g.nr),
        pitch(g.row_pitch),
        a(static_cast<std::size_t>(rows * g.row_pitch), std::numeric_limits<T>::quiet_NaN()),
        b(static_cast<std::size_t>(2 * depth * g.nr), std::numeric_limits<T>::quiet_NaN()),
        c(random_values<T>(static_cast<std::size_t>(rows * g.nr + 2 * kGuard), 5)) {
    Values random(6);
    for (int64_t m = 0; m < rows; ++m)
      for (int64_t k = 0; k < depth; ++k)
        a[static_cast<std::size_t>(m * pitch + k)] = static_cast<T>(random());
    for (int64_t k = 0; k < depth; ++k) {
      b_offset.push_back(2 * (depth - 1 - k) * nr);
      for (int n = 0; n < columns; ++n) at(k, n) = static_cast<T>(random());
    }
  }
  T& at(int64_t k, int n) { return b[static_cast<std::size_t>(b_offset[static_cast<std::size_t>(k)] + n)]; }
  T* accumulators() { return c.data() + kGuard; }
};

template <class T>
void check_product(const cpu::GemmKernels& g, bool fused, int64_t rows, int64_t depth, int columns,
                   bool accumulate, int64_t chain) {
  Panel<T> panel(g, rows, depth, columns);
  std::vector<T> want = panel.c;
  for (int64_t m = 0; m < rows; ++m)
    for (int n = 0; n < columns; ++n) {
      T& c = want[static_cast<std::size_t>(kGuard + m * g.nr + n)];
      for (int64_t first = 0; first == 0 || first < depth; first += chain) {
        T sum = 0;  // a chain starts from zero and meets C at its end
        for (int64_t k = first; k < std::min(first + chain, depth); ++k) {
          const T x = panel.a[static_cast<std::size_t>(m * panel.pitch + k)], y = panel.at(k, n);
          sum = fused ? std::fma(x, y, sum) : x * y + sum;
        }
        c = accumulate || first > 0 ? sum + c : sum;
      }
    }
  const std::vector<T> before = panel.c;
  for (int tile_rows = 1; tile_rows <= g.mr; ++tile_rows) {
    panel.c = before;
    g.multiply_panel(PanelProduct{panel.a.data(),
                                  panel.b.data(),
                                  panel.b_offset.data(),
                                  panel.accumulators(),
                                  rows,
                                  depth,
                                  chain,
                                  tile_rows,
                                  columns,
                                  accumulate,
                                  {},
                                  nullptr});
    bool equal = true, guarded = true;
    for (std::size_t i = 0; i < panel.c.size(); ++i) {
      const int64_t at = static_cast<int64_t>(i) - kGuard;
      const bool inside = at >= 0 && at < rows * g.nr;
      if (!inside) guarded = guarded && same(panel.c[i], before[i]);
      if (inside && at % g.nr < columns) equal = equal && same(panel.c[i], want[i]);
    }
    CHECK(equal,
          "%s multiply_panel of %zu bytes: rows %lld depth %lld chain %lld columns %d tile_rows %d "
          "accumulate %d",
          isa_name, sizeof(T), static_cast<long long>(rows), static_cast<long long>(depth),
          static_cast<long long>(chain), columns, tile_rows, accumulate);
    CHECK(guarded, "%s multiply_panel wrote around C", isa_name);
  }
}

template <class T>
void check_products(const cpu::GemmKernels& g, int lanes, bool fused) {
  CHECK(g.mr >= 1 && g.nr % lanes == 0 && g.row_pitch > 0, "%s tile %d x %d, pitch %d", isa_name, g.mr, g.nr,
        g.row_pitch);
  for (int64_t rows = 1; rows <= g.mr + 2; ++rows)
    for (const int columns : {1, lanes - 1, lanes, lanes + 1, g.nr - 1, g.nr})
      for (const int64_t depth : {0, 1, 2, 3, 8, 17})
        for (const bool accumulate : {false, true})
          for (const int64_t chain : {1, 5, 17})
            if (columns >= 1) check_product<T>(g, fused, rows, depth, columns, accumulate, chain);
  for (const int64_t chain : {32, 100, g.row_pitch})
    check_product<T>(g, fused, 3 * g.mr + 1, g.row_pitch, g.nr, false, chain);
}

// A panel whose finished sums are stored at once is what store_block makes of the accumulators, bit for bit.
template <class T>
void check_stored_product(const cpu::KernelTable& table, int64_t rows, int64_t depth, bool row_bias,
                          bool col_bias, Activation activation) {
  const cpu::GemmKernels& g = table.gemm[std::is_same_v<T, double>];
  Panel<T> panel(g, rows, depth, g.nr);
  const auto of_rows = random_values<T>(static_cast<std::size_t>(rows), 8);
  const auto of_cols = random_values<T>(static_cast<std::size_t>(g.nr), 9);
  const int64_t row_step = g.nr + 3;
  std::vector<int64_t> row_offset;
  for (int64_t m = 0; m < rows; ++m) row_offset.push_back((rows - 1 - m) * row_step);
  const auto before = random_values<T>(static_cast<std::size_t>(rows * row_step + 2 * kGuard), 10);
  std::vector<T> got = before, want = before;
  const T *bias_of_rows = row_bias ? of_rows.data() : nullptr,
          *bias_of_cols = col_bias ? of_cols.data() : nullptr;

  PanelProduct product{panel.a.data(),
                       panel.b.data(),
                       panel.b_offset.data(),
                       panel.accumulators(),
                       rows,
                       depth,
                       depth,
                       g.mr,
                       g.nr,
                       true,
                       {},
                       nullptr};
  const cpu::PanelStore store{got.data() + kGuard, row_offset.data(), bias_of_rows, bias_of_cols, activation};
  product.store = &store;
  product.ahead = {reinterpret_cast<const char*>(panel.a.data()), 64, 2 * rows + 1, 128};
  const std::vector<T> sums = panel.c;
  g.multiply_panel(product);
  const bool untouched = same_bytes(panel.c, sums);
  product.store = nullptr;
  g.multiply_panel(product);
  const cpu::StorePiece whole{0, 0, 0, g.nr};
  table.store_block[static_cast<int>(dtype_of<T>())]({panel.accumulators(), rows, want.data() + kGuard,
                                                      row_offset.data(), &whole, 1, 1, bias_of_rows,
                                                      bias_of_cols, activation});
  CHECK(
      untouched && same_bytes(got, want),
      "%s multiply_panel of %zu bytes, stored: rows %lld depth %lld row bias %d column bias %d activation %d",
      isa_name, sizeof(T), static_cast<long long>(rows), static_cast<long long>(depth), row_bias, col_bias,
      static_cast<int>(activation));
}

template <class T>
void check_stored_products(const cpu::KernelTable& table) {
  const int mr = table.gemm[std::is_same_v<T, double>].mr;
  for (int64_t rows = 1; rows <= 2 * mr + 1; ++rows)
    for (const int64_t depth : {0, 1, 17})
      for (const bool row_bias : {false, true})
        for (const bool col_bias : {false, true})
          for (const auto activation : {Activation::none, Activation::relu6, Activation::tanh})
            check_stored_product<T>(table, rows, depth, row_bias, col_bias, activation);
}

// Two blocks whose elements take turns are what two stores with a step of 2 make of them.
template <class S>
void check_store_of_two(const cpu::KernelTable& table, int64_t rows, int columns, bool row_bias,
                        bool col_bias, Activation activation) {
  using T = ComputeOf<S>;
  const int64_t nr = table.gemm[std::is_same_v<T, double>].nr;
  const auto c = random_values<T>(static_cast<std::size_t>(rows * nr), 11);
  const auto between = random_values<T>(static_cast<std::size_t>(rows * nr), 12);
  const auto of_rows = random_values<T>(static_cast<std::size_t>(rows), 13);
  const auto of_cols = random_values<T>(static_cast<std::size_t>(nr), 14);
  const int64_t row_step = 2 * columns + 3;
  std::vector<int64_t> row_offset;
  for (int64_t m = 0; m < rows; ++m) row_offset.push_back(m * row_step);
  const cpu::StorePiece piece{nr - columns, 1, nr - columns, columns};
  std::vector<S> got = random_values<S>(static_cast<std::size_t>(rows * row_step + 2 * kGuard), 15),
                 want = got;
  const auto store = [&](const std::vector<T>& sums, S* to, const T* others) {
    table.store_block[static_cast<int>(dtype_of<S>())](
        {sums.data(), rows, to, row_offset.data(), &piece, 1, 2, row_bias ? of_rows.data() : nullptr,
         col_bias ? of_cols.data() : nullptr, activation, others});
  };
  store(c, got.data() + kGuard, between.data());
  store(c, want.data() + kGuard, nullptr);
  store(between, want.data() + kGuard + 1, nullptr);
  CHECK(same_bytes(got, want),
        "%s store_block %s of two: rows %lld columns %d row bias %d column bias %d activation %d", isa_name,
        name_of(dtype_of<S>()), static_cast<long long>(rows), columns, row_bias, col_bias,
        static_cast<int>(activation));
}

// A block of two panels: `columns` of the first one's, and as many of the second one's last, which come first
// in the output.
template <class S>
void check_store(const cpu::KernelTable& table, int64_t rows, int columns, bool contiguous, bool row_bias,
                 bool col_bias, Activation activation) {
  using T = ComputeOf<S>;
  const int64_t nr = table.gemm[std::is_same_v<T, double>].nr;
  const auto accumulators = random_values<T>(static_cast<std::size_t>(2 * rows * nr), 7);
  const auto of_rows = random_values<T>(static_cast<std::size_t>(rows), 8);
  const auto of_cols = random_values<T>(static_cast<std::size_t>(2 * nr), 9);
  // Rows lie apart and in reverse; columns side by side, or scattered without meeting.
  const int64_t col_step = contiguous ? 1 : 3, piece_step = columns * col_step + 1,
                row_step = 2 * piece_step + 2;
  std::vector<int64_t> row_offset;
  for (int64_t m = 0; m < rows; ++m) row_offset.push_back((rows - 1 - m) * row_step);
  const cpu::StorePiece pieces[] = {{0, piece_step, 0, columns},
                                    {rows * nr + nr - columns, 1, 2 * nr - columns, columns}};

  const auto before = random_values<S>(static_cast<std::size_t>(rows * row_step + 2 * kGuard), 10);
  std::vector<S> got = before, want = before;
  for (int64_t m = 0; m < rows; ++m)
    for (const cpu::StorePiece& piece : pieces)
      for (int n = 0; n < columns; ++n) {
        T x = accumulators[static_cast<std::size_t>(piece.from + m * nr + n)];
        if (row_bias) x += of_rows[static_cast<std::size_t>(m)];
        if (col_bias) x += of_cols[static_cast<std::size_t>(piece.column + n)];
        if (activation == Activation::relu) x = x > T(0) ? x : T(0);
        want[static_cast<std::size_t>(kGuard + row_offset[static_cast<std::size_t>(m)] + piece.to +
                                      n * col_step)] = narrow<S>(x);
      }
  table.store_block[static_cast<int>(dtype_of<S>())](
      cpu::BlockStore{accumulators.data(), rows, got.data() + kGuard, row_offset.data(), pieces, 2, col_step,
                      row_bias ? of_rows.data() : nullptr, col_bias ? of_cols.data() : nullptr, activation});
  CHECK(same_bytes(got, want),
        "%s store_block %s rows %lld columns %d contiguous %d row bias %d column bias %d activation %d",
        isa_name, name_of(dtype_of<S>()), static_cast<long long>(rows), columns, contiguous, row_bias,
        col_bias, static_cast<int>(activation));
}

template <class S>
void check_stores(const cpu::KernelTable& table) {
  const int nr = table.gemm[std::is_same_v<S, double>].nr;
  for (const int64_t rows : {1, 2, 7})
    for (int columns = 1; columns <= nr; ++columns)
      for (const bool contiguous : {false, true})
        for (const bool row_bias : {false, true})
          for (const bool col_bias : {false, true})
            for (const auto activation : {Activation::none, Activation::relu})
              check_store<S>(table, rows, columns, contiguous, row_bias, col_bias, activation);
  for (int columns = 1; columns <= nr; ++columns)
    for (const bool row_bias : {false, true})
      for (const bool col_bias : {false, true})
        for (const auto activation : {Activation::none, Activation::relu, Activation::tanh})
          check_store_of_two<S>(table, 3, columns, row_bias, col_bias, activation);
}

template <class S>
void check_store_turned(const cpu::KernelTable& table, int64_t rows, int columns, int64_t row_step, bool bias,
                        Activation activation) {
  using T = ComputeOf<S>;
  const int64_t nr = table.gemm[std::is_same_v<T, double>].nr, column_stride = rows * row_step + 2;
  const auto accumulators = random_values<T>(static_cast<std::size_t>(rows * nr), 13);
  const auto of_cols = random_values<T>(static_cast<std::size_t>(columns), 14);
  const auto before = random_values<S>(static_cast<std::size_t>(columns * column_stride + 2 * kGuard), 15);
  std::vector<S> got = before, want = before;
  for (int64_t m = 0; m < rows; ++m)
    for (int n = 0; n < columns; ++n) {
      T x = accumulators[static_cast<std::size_t>(m * nr + n)];
      if (bias) x += of_cols[static_cast<std::size_t>(n)];
      if (activation == Activation::relu) x = x > T(0) ? x : T(0);
      want[static_cast<std::size_t>(kGuard + n * column_stride + m * row_step)] = narrow<S>(x);
    }
  table.store_turned[static_cast<int>(dtype_of<S>())](
      cpu::TurnedStore{accumulators.data(), rows, columns, got.data() + kGuard, row_step, column_stride,
                       bias ? of_cols.data() : nullptr, activation});
  CHECK(same_bytes(got, want), "%s store_turned %s rows %lld columns %d step %lld bias %d activation %d",
        isa_name, name_of(dtype_of<S>()), static_cast<long long>(rows), columns,
        static_cast<long long>(row_step), bias, static_cast<int>(activation));
}

template <class S>
void check_turned(const cpu::KernelTable& table, int lanes) {
  const int nr = table.gemm[std::is_same_v<S, double>].nr;
  for (const int64_t count : {1, lanes - 1, lanes, lanes + 1, 3 * lanes + 2})
    for (int lines = 1; lines <= nr; ++lines) {
      if (count < 1) continue;
      check_copy_turned<S>(table, lines, count);
      for (const int64_t step : {1, 2})
        for (const bool bias : {false, true})
          for (const auto activation : {Activation::none, Activation::relu})
            check_store_turned<S>(table, count, lines, step, bias, activation);
    }
}

// Sums of two stretches, added to what was there, among NaN that no lane may meet.
template <class T>
void check_correlation(const cpu::CorrelationKernels& kernels, bool fused, int64_t lines, int64_t features,
                       int64_t columns) {
  constexpr int64_t kRows[2] = {3, 1};
  const int64_t lanes = kernels.lanes, plane_step = columns + 5, value_step = columns + 2;
  const int64_t plane = 5 * plane_step, line = 4 * value_step;
  const auto nan = std::numeric_limits<T>::quiet_NaN();
  std::vector<T> planes(static_cast<std::size_t>(features * plane), nan),
      values(static_cast<std::size_t>(lines * line), nan);
  std::vector<int64_t> offset;
  for (int64_t f = 0; f < features; ++f) offset.push_back((features - 1 - f) * plane + f % 4);
  const cpu::CorrelationRows stretches[2] = {{0, 0, kRows[0], columns},
                                             {4 * plane_step, 3 * value_step, kRows[1], columns}};
  auto sums = random_values<T>(static_cast<std::size_t>(lines * features * lanes + 2 * kGuard), 16);
  std::vector<T> chains(sums.size()), want = sums;
  Values random(17);
  const auto fill = [&](std::vector<T>* to, int64_t at) {
    for (int64_t j = 0; j < columns; ++j) (*to)[static_cast<std::size_t>(at + j)] = static_cast<T>(random());
  };
  for (const cpu::CorrelationRows& s : stretches)
    for (int64_t r = 0; r < s.rows; ++r) {
      for (int64_t f = 0; f < features; ++f)
        fill(&planes, offset[static_cast<std::size_t>(f)] + s.plane + r * plane_step);
      for (int64_t l = 0; l < lines; ++l) fill(&values, l * line + s.value + r * value_step);
      for (int64_t l = 0; l < lines; ++l)
        for (int64_t f = 0; f < features; ++f)
          for (int64_t j = 0; j < columns; ++j) {
            T& sum = chains[static_cast<std::size_t>(kGuard + (l * features + f) * lanes + j % lanes)];
            const T value = values[static_cast<std::size_t>(l * line + s.value + r * value_step + j)];
            const int64_t at = offset[static_cast<std::size_t>(f)] + s.plane + r * plane_step + j;
            const T element = planes[static_cast<std::size_t>(at)];
            sum = fused ? std::fma(value, element, sum) : sum + value * element;
          }
    }
  for (std::size_t i = kGuard; i < chains.size() - kGuard; ++i) want[i] += chains[i];
  kernels.correlate({stretches, 2, planes.data(), plane_step, offset.data(), features, values.data(),
                     value_step, line, lines, sums.data() + kGuard});
  CHECK(same_bytes(sums, want), "%s correlate of %zu bytes: lines %lld features %lld columns %lld", isa_name,
        sizeof(T), static_cast<long long>(lines), static_cast<long long>(features),
        static_cast<long long>(columns));
}

template <class T>
void check_correlations(const cpu::CorrelationKernels& kernels, bool fused) {
  for (int64_t lines = 1; lines <= 9; ++lines)
    for (int64_t features = 1; features <= 13; ++features)
      for (const int64_t columns : {1, kernels.lanes - 1, kernels.lanes, 2 * kernels.lanes + 3})
        if (columns >= 1) check_correlation<T>(kernels, fused, lines, features, columns);
}

}  // namespace
}  // namespace fastconv::test

int main() {
  using namespace fastconv::test;
  std::string isas;
  for (const Isa& isa : runnable_isas()) {
    isa_name = isa.name.c_str();
    const int lanes[2] = {isa.vec->f32.lanes, isa.vec->f64.lanes};
    check_copies<float>(*isa.table, lanes[0]);
    check_copies<double>(*isa.table, lanes[1]);
    check_copies<fastconv::Float16>(*isa.table, lanes[0]);
    check_copies<fastconv::BFloat16>(*isa.table, lanes[0]);
    check_products<float>(isa.table->gemm[0], lanes[0], isa.fused);
    check_products<double>(isa.table->gemm[1], lanes[1], isa.fused);
    check_stored_products<float>(*isa.table);
    check_stored_products<double>(*isa.table);
    check_correlations<float>(isa.table->correlation[0], isa.fused);
    check_correlations<double>(isa.table->correlation[1], isa.fused);
    check_stores<float>(*isa.table);
    check_turned<float>(*isa.table, lanes[0]);
    check_stores<double>(*isa.table);
    check_turned<double>(*isa.table, lanes[1]);
    check_stores<fastconv::Float16>(*isa.table);
    check_turned<fastconv::Float16>(*isa.table, lanes[0]);
    check_stores<fastconv::BFloat16>(*isa.table);
    check_turned<fastconv::BFloat16>(*isa.table, lanes[0]);
    for (int i = 0; i < 2; ++i) {
      const double flops = isa.table->fma_loop[i](10);
      CHECK(flops >= 2.0 * lanes[i] * 10, "%s fma_loop counts %g", isa_name, flops);
    }
    isas += " " + isa.name;
  }
  return finish("kernels", isas);
}
