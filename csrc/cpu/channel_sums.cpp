#include "cpu/channel_sums.h"

#include <algorithm>

#include "core/buffer_pool.h"
#include "cpu/channel_layout.h"
#include "cpu/dispatch.h"
#include "cpu/parallel.h"

namespace fastconv::cpu {
namespace {

constexpr double kNsPerElement = 0.2;

// The axes, slowest first, as one of product(size) steps of *stride elements, where they lie so.
bool merge_axes(const int64_t* size, const int64_t* stride, int axes, int64_t* merged_stride) {
  bool any = false;
  int64_t next = 0;  // the stride of an axis that continues the faster ones
  for (int i = axes - 1; i >= 0; --i) {
    if (size[i] == 1) continue;
    if (any && stride[i] != next) return false;
    if (!any) *merged_stride = stride[i];
    any = true;
    next = stride[i] * size[i];
  }
  if (!any) *merged_stride = 1;
  return true;
}

// A C-contiguous (batch, channels, space) copy in the compute type.
Buffer copy_planes(const KernelTable& table, const ImageView& dy, int64_t space) {
  const Dtype compute = compute_dtype(dy.dtype);
  Buffer copy(std::max<int64_t>(dy.batch * dy.channels * space, 1) * size_of(compute));
  const auto copy_block = table.copy_block[static_cast<int>(dy.dtype)];
  const double work = 2.0 * static_cast<double>(dy.batch * dy.channels * space);
  parallel_for(dy.batch * dy.channels, work, num_threads(), [&](int64_t plane, int) {
    const int64_t from = plane / dy.channels * dy.batch_stride + plane % dy.channels * dy.channel_stride;
    for (int64_t d = 0; d < dy.size[0]; ++d) {
      const int64_t to = plane * space + d * dy.size[1] * dy.size[2];
      copy_block({element(dy.data, dy.dtype, from + d * dy.stride[0]), dy.stride[1], dy.stride[2],
                  element(copy.data(), compute, to), dy.size[2], 1, dy.size[1], dy.size[2], false});
    }
  });
  return copy;
}

void sum_channels(const KernelTable& table, const ChannelLayout& layout, const void* data, Dtype dtype,
                  Dtype result, void* db) {
  const ChannelPieces pieces(layout);
  const int64_t channels = layout.channels;
  const Buffer partial((pieces.chunks() + 2) * channels * 8);
  double* parts = partial.as<double>();
  std::fill(parts, parts + pieces.chunks() * channels, 0.0);
  parallel_for(pieces.count(), kNsPerElement * static_cast<double>(layout.elements()), num_threads(),
               [&](int64_t task, int) {
                 const ChannelPiece piece = pieces[task];
                 reduce_piece(table.channel.sum, dtype, layout, piece, data, nullptr, nullptr,
                              parts + piece.chunk * channels + piece.channel, nullptr);
               });
  double* total = parts + pieces.chunks() * channels;
  std::fill(total, total + channels, 0.0);
  for (int64_t k = 0; k < pieces.chunks(); ++k)
    for (int64_t c = 0; c < channels; ++c) total[c] += parts[k * channels + c];
  if (compute_dtype(result) == Dtype::float32) {
    float* rounded = reinterpret_cast<float*>(total + channels);
    for (int64_t c = 0; c < channels; ++c) rounded[c] = static_cast<float>(total[c]);
    table.elementwise.narrow[static_cast<int>(result)](rounded, db, channels);
  } else {
    std::copy(total, total + channels, static_cast<double*>(db));
  }
}

}  // namespace

void channel_sums(const ImageView& dy, Dtype result, void* db) {
  if (dy.channels == 0) return;
  const KernelTable& table = active_table();
  const int64_t space = product(dy.size);
  const int64_t size[] = {dy.batch, dy.size[0], dy.size[1], dy.size[2]};
  const int64_t stride[] = {dy.batch_stride, dy.stride[0], dy.stride[1], dy.stride[2]};
  int64_t step = 0;
  if (merge_axes(size + 1, stride + 1, kAxes, &step) && step == 1 && space > 1) {
    const ChannelLayout planes{false, dy.batch, dy.channels, space, dy.batch_stride, dy.channel_stride};
    sum_channels(table, planes, dy.data, dy.dtype, result, db);
  } else if ((dy.channel_stride == 1 || dy.channels == 1) && merge_axes(size, stride, kAxes + 1, &step)) {
    const ChannelLayout columns{true, dy.batch * space, dy.channels, 1, step, 1};
    sum_channels(table, columns, dy.data, dy.dtype, result, db);
  } else {
    const Buffer copy = copy_planes(table, dy, space);
    sum_channels(table, contiguous_layout(dy.batch, dy.channels, space, false), copy.data(),
                 compute_dtype(dy.dtype), result, db);
  }
}

}  // namespace fastconv::cpu
