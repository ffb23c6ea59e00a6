#include <algorithm>
#include <optional>

#include "cuda/kernels/pool_scatter.h"
#include "cuda/launch.h"
#include "cuda/pool.h"
#include "cuda/with_dtype.h"

namespace fastconv::cuda {
namespace {

struct Planes {
  std::int64_t planes, channels;
};
Planes planes_of(const PoolPositions& p) {
  if (p.channels_last) return {p.small.batch, p.small.channels};
  return {p.small.batch * p.small.channels, 1};
}

// Tiles of at most kTileBytes (three blocks of a multiprocessor have room for theirs), smaller ones where a
// device would stand idle; their channels fill the 32 bytes that memory moves at least.
ScatterShape scatter_shape(const PoolPositions& p, std::int64_t item, std::int64_t sum_item) {
  constexpr std::int64_t kTileBytes = 56 << 10, kSectorBytes = 32, kManyBlocks = 1024;
  const std::int64_t most = kTileBytes / sum_item;
  const auto [planes, channels] = planes_of(p);
  ScatterShape s;
  s.planes = planes;
  s.channels = channels;
  s.windows = product(p.small.size);
  s.positions = product(p.large.size);
  s.by_windows = Divisor(s.windows);
  s.tile_planes = 1;
  s.lane_bits = 0;
  const std::int64_t wanted = std::min(most / s.positions, planes * channels / kManyBlocks);
  if (channels == 1) {
    s.tile_planes = std::clamp<std::int64_t>(wanted, 1, planes);
  } else {
    const std::int64_t lanes = std::min(channels, std::max(wanted, kSectorBytes / item));
    while (std::int64_t{1} << s.lane_bits < lanes && s.positions << (s.lane_bits + 1) <= most) ++s.lane_bits;
    while (std::int64_t{1} << s.lane_bits < std::min(channels, kSectorBytes / item)) ++s.lane_bits;
  }
  s.slice = even_part(s.positions, most >> s.lane_bits);
  s.slices = Divisor(ceil_div(s.positions, s.slice));
  s.lane_groups = Divisor(ceil_div(channels, std::int64_t{1} << s.lane_bits));
  s.pieces = Divisor(ceil_div(s.tile_planes * s.windows << s.lane_bits, kPiece));
  return s;
}

template <class S, class T, bool kAdds>
void scatter(const PoolPositions& p, Stream stream) {
  if (p.small.batch == 0 || p.small.channels == 0) return;
  using Kernel = ScatterKernel<S, T, kAdds>;
  const ScatterShape shape = scatter_shape(p, sizeof(S), sizeof(T));
  std::optional<StreamMemory> ranges;
  if (shape.slices.value > 1) {
    const std::int64_t blocks = shape.sets() * shape.pieces.value;
    ranges.emplace(blocks * static_cast<std::int64_t>(sizeof(IndexRange)), stream);
    launch<IndexRangesKernel>(stream, blocks, IndexRangesKernel::kSharedBytes,
                              {shape, p.indices, ranges->as<IndexRange>()});
  }
  const std::int64_t shared = kSlots * static_cast<std::int64_t>(sizeof(int)) +
                              shape.tile_elements() * static_cast<std::int64_t>(sizeof(T));
  launch<Kernel>(stream, shape.sets() * shape.slices.value, shared,
                 {shape, static_cast<const S*>(p.small.data), p.indices, static_cast<S*>(p.large.data),
                  ranges ? ranges->as<IndexRange>() : nullptr});
}

template <class T>
void gather(const PoolPositions& p, Stream stream) {
  const std::int64_t count = p.small.batch * p.small.channels * product(p.small.size);
  if (count == 0) return;
  const std::int64_t channels = planes_of(p).channels;
  launch<GatherKernel<T>>(
      stream, span_blocks(count), 0,
      {static_cast<const T*>(p.large.data), p.indices, static_cast<T*>(p.small.data), count,
       product(p.large.size), channels, Divisor(channels * product(p.small.size)), Divisor(channels)});
}

}  // namespace

void scatter_sums(const PoolPositions& p, Stream stream) {
  with_dtype(p.small.dtype, [&](auto element) {
    using S = decltype(element);
    scatter<S, ComputeType<S>, true>(p, stream);
  });
}

void scatter_values(const PoolPositions& p, Stream stream) {
  switch (size_of(p.small.dtype)) {
    case 2:
      return scatter<std::uint16_t, std::uint16_t, false>(p, stream);
    case 4:
      return scatter<std::uint32_t, std::uint32_t, false>(p, stream);
    default:
      return scatter<std::uint64_t, std::uint64_t, false>(p, stream);
  }
}

void gather_values(const PoolPositions& p, Stream stream) {
  switch (size_of(p.small.dtype)) {
    case 2:
      return gather<std::uint16_t>(p, stream);
    case 4:
      return gather<std::uint32_t>(p, stream);
    default:
      return gather<std::uint64_t>(p, stream);
  }
}

}  // namespace fastconv::cuda
