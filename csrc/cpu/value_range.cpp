#include "cpu/value_range.h"

#include "core/buffer_pool.h"
#include "core/integers.h"
#include "cpu/parallel.h"

namespace fastconv::cpu {
namespace {

constexpr double kNsPerElement = 0.1, kLeast = 0x1p-100, kMost = 0x1p100;
constexpr int64_t kPiece = 1 << 15;

bool in_range(double sum_of_squares) { return kLeast <= sum_of_squares && sum_of_squares <= kMost; }

double sum_of_squares(const KernelTable& table, Dtype dtype, const void* data, int64_t count) {
  double sum = 0, squares = 0;
  table.channel.moments[0][static_cast<int>(dtype)]({data, nullptr, 1, 0, count, nullptr, &sum, &squares});
  return squares;
}

// An image's values without a gap between them, in whatever order.
bool is_dense(const ImageView& v) {
  int64_t next = v.channel_stride == 1 ? v.channels : 1;
  for (int a = kAxes - 1; a >= 0; --a) {
    if (v.size[a] != 1 && v.stride[a] != next) return false;
    next *= v.size[a];
  }
  return v.channel_stride == 1 || v.channels == 1 || v.channel_stride == next;
}

// As pieces of a sum of their own, so that the threads' number changes nothing.
double sum_of_squares_in_pieces(const Machine& machine, Dtype dtype, const void* data, int64_t count) {
  const int64_t pieces = ceil_div(count, kPiece);
  const Buffer parts(pieces * static_cast<int64_t>(sizeof(double)));
  parallel_for(pieces, kNsPerElement * static_cast<double>(count), machine.threads, [&](int64_t i, int) {
    parts.as<double>()[i] = sum_of_squares(*machine.table, dtype, element(data, dtype, i * kPiece),
                                           i + 1 < pieces ? kPiece : count - i * kPiece);
  });
  double total = 0;
  for (int64_t i = 0; i < pieces; ++i) total += parts.as<double>()[i];
  return total;
}

double sum_of_squares_row_by_row(const KernelTable& table, const ImageView& v, int64_t image) {
  const Dtype compute = compute_dtype(v.dtype);
  const Buffer row(v.size[2] * size_of(compute));
  double total = 0;
  for (int64_t c = 0; c < v.channels; ++c)
    for (int64_t i = 0; i < v.size[0]; ++i)
      for (int64_t j = 0; j < v.size[1]; ++j) {
        const int64_t at = image * v.batch_stride + c * v.channel_stride + i * v.stride[0] + j * v.stride[1];
        table.copy_block[static_cast<int>(v.dtype)](
            {element(v.data, v.dtype, at), 0, v.stride[2], row.data(), 0, 1, 1, v.size[2], false});
        total += sum_of_squares(table, compute, row.data(), v.size[2]);
      }
  return total;
}

}  // namespace

std::vector<int64_t> images_out_of_range(const Machine& machine, const ImageView& v) {
  const int64_t count = v.channels * product(v.size);
  const bool dense = is_dense(v);
  std::vector<int64_t> out;
  for (int64_t n = 0; n < v.batch; ++n) {
    const double squares = dense ? sum_of_squares_in_pieces(
                                       machine, v.dtype, element(v.data, v.dtype, n * v.batch_stride), count)
                                 : sum_of_squares_row_by_row(*machine.table, v, n);
    if (!in_range(squares)) out.push_back(n);
  }
  return out;
}

bool filters_in_range(const Machine& machine, const FilterView& w) {
  return in_range(sum_of_squares_in_pieces(machine, w.dtype, w.data, w.filters * w.channels * w.taps));
}

}  // namespace fastconv::cpu
