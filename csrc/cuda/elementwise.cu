#include <algorithm>

#include "core/activation_names.h"
#include "core/integers.h"
#include "cuda/elementwise.h"
#include "cuda/kernels/channel_sums.h"
#include "cuda/kernels/elementwise.h"
#include "cuda/launch.h"

namespace fastconv::cuda {
namespace {

constexpr std::int64_t kPixelsOfPart = 8192, kMostParts = 1024;

template <class T>
void sum_channels(const ImageView& dy, Dtype result, void* db, Stream stream) {
  const std::int64_t pixels = dy.batch * product(dy.size);
  const std::int64_t parts = std::clamp<std::int64_t>(ceil_div(pixels, kPixelsOfPart), 1, kMostParts);
  const StreamMemory sums(dy.channels * parts * static_cast<std::int64_t>(sizeof(T)), stream);
  const auto add_up = [&](auto kernel, std::int64_t channels_of_block) {
    using Kernel = decltype(kernel);
    launch<Kernel>(stream, ceil_div(dy.channels, channels_of_block) * parts, Kernel::kSharedBytes,
                   {dy, parts, ceil_div(pixels, parts), sums.as<T>()});
  };
  if (channels_adjacent(dy)) {
    add_up(ChannelPartsKernel<T, kAdjacentChannels>{}, kAdjacentChannels);
  } else {
    add_up(ChannelPartsKernel<T, 1>{}, 1);
  }
  launch<ChannelTotalsKernel<T>>(stream, span_blocks(dy.channels), 0,
                                 {sums.as<T>(), dy.channels, parts, result, db});
}

}  // namespace

void copy(const StridedArray& from, const StridedArray& to, Stream stream) {
  std::int64_t count = 1;
  for (int i = 0; i < from.ndim; ++i) count *= from.shape[i];
  const std::int64_t blocks = span_blocks(count);
  switch (from.itemsize) {
    case 2:
      return launch<CopyKernel<std::uint16_t>>(stream, blocks, 0, {from, to, count});
    case 4:
      return launch<CopyKernel<std::uint32_t>>(stream, blocks, 0, {from, to, count});
    default:
      return launch<CopyKernel<std::uint64_t>>(stream, blocks, 0, {from, to, count});
  }
}

void activation_gradient(Activation kind, Dtype dtype, const void* dy, const void* before_or_result, void* dz,
                         int64_t count, Stream stream) {
  const Dtype state = slope_needs_input(kind) ? compute_dtype(dtype) : dtype;
  if (dtype == Dtype::float64) {
    launch<ActivationGradientKernel<double>>(stream, span_blocks(count), 0,
                                             {kind, dtype, state, dy, before_or_result, dz, count});
  } else {
    launch<ActivationGradientKernel<float>>(stream, span_blocks(count), 0,
                                            {kind, dtype, state, dy, before_or_result, dz, count});
  }
}

void channel_sums(const ImageView& dy, Dtype result, void* db, Stream stream) {
  if (dy.dtype == Dtype::float64) return sum_channels<double>(dy, result, db, stream);
  sum_channels<float>(dy, result, db, stream);
}

}  // namespace fastconv::cuda
