#include "cuda/depthwise.h"
#include "cuda/kernels/depthwise.h"
#include "cuda/launch.h"
#include "cuda/parts.h"

namespace fastconv::cuda {
namespace {

// With fewer, most of a thread's lanes would be empty.
constexpr std::int64_t kFewestChannels = 4;
constexpr int kMostOctetBits = 4;
constexpr std::int64_t kFilterBytes = 48 << 10;  // that every device gives a block

int octet_bits(std::int64_t channels, bool adjacent) {
  int bits = 0;
  while (adjacent && bits < kMostOctetBits && (kLanes << bits) < channels) ++bits;
  return bits;
}

template <class T, bool kChannelsAdjacent>
bool run_images(DepthwiseImagesArguments a, Stream stream) {
  using Kernel = DepthwiseImagesKernel<T, kChannelsAdjacent>;
  const std::int64_t shared_bytes = Kernel::shared_bytes(a);
  if (shared_bytes > kFilterBytes) return false;
  const std::int64_t pixels = Kernel::kRounds * (kDepthwiseThreads >> a.octet_bits);
  launch<Kernel>(stream, ceil_div(a.gather.pixels, pixels) * a.channel_tiles, shared_bytes, a);
  return true;
}

template <class T, bool kChannelsAdjacent>
void run_filters(DepthwiseFiltersArguments a, Stream stream) {
  using Kernel = DepthwiseFiltersKernel<T, kChannelsAdjacent>;
  a.tap_tiles = ceil_div(a.gather.taps, Kernel::kTaps);
  const std::int64_t tiles = a.tap_tiles * a.channel_tiles;
  const Parts parts = cut(a.gather.pixels, tiles, kWantedFilterBlocks, kDepthwiseThreads);
  a.parts = parts.count;
  a.pixels_of_part = parts.length;
  if (a.parts == 1) return launch<Kernel>(stream, tiles, Kernel::kSharedBytes, a);
  const std::int64_t sums = a.channels * a.gather.taps;
  const StreamMemory partial(a.parts * sums * static_cast<std::int64_t>(sizeof(T)), stream);
  a.partial_sums = partial.as<void>();
  launch<Kernel>(stream, tiles * a.parts, Kernel::kSharedBytes, a);
  launch<DepthwisePartsKernel<T>>(stream, span_blocks(sums), 0, a);
}

}  // namespace

bool depthwise_images(const ImageProductArguments& of, Stream stream) {
  if (of.lines != 1 || of.channels != 1 || of.groups < kFewestChannels || of.gather.taps == 0) return false;
  DepthwiseImagesArguments a{};
  a.gather = of.gather;
  a.filters = of.filters;
  a.store = of.store;
  a.channels = of.groups;
  a.whole_source = has_whole_lanes(a.gather.source);
  a.whole_result = has_whole_lanes(a.store.result);
  const bool adjacent = channels_adjacent(a.store.result), doubles = a.store.result.dtype == Dtype::float64;
  a.octet_bits = octet_bits(a.channels, adjacent);
  a.channel_tiles = ceil_div(a.channels, std::int64_t{kLanes} << a.octet_bits);
  if (doubles) return adjacent ? run_images<double, true>(a, stream) : run_images<double, false>(a, stream);
  return adjacent ? run_images<float, true>(a, stream) : run_images<float, false>(a, stream);
}

bool depthwise_filters(const FilterProductArguments& of, Stream stream) {
  if (of.filters != 1 || of.channels != 1 || of.groups < kFewestChannels) return false;
  DepthwiseFiltersArguments a{};
  a.gather = of.gather;
  a.dy = of.gather.result;
  a.dy.data = const_cast<void*>(of.dy);
  a.dy.dtype = of.dy_dtype;
  a.channels = of.groups;
  a.whole_source = has_whole_lanes(a.gather.source);
  a.whole_dy = has_whole_lanes(a.dy);
  const bool adjacent = channels_adjacent(a.gather.source), doubles = of.dtype == Dtype::float64;
  a.octet_bits = octet_bits(a.channels, adjacent);
  a.channel_tiles = ceil_div(a.channels, std::int64_t{kLanes} << a.octet_bits);
  a.dtype = of.dtype;
  a.dw = of.dw;
  if (doubles) {
    adjacent ? run_filters<double, true>(a, stream) : run_filters<double, false>(a, stream);
  } else {
    adjacent ? run_filters<float, true>(a, stream) : run_filters<float, false>(a, stream);
  }
  return true;
}

}  // namespace fastconv::cuda
