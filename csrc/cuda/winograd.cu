#include <algorithm>

#include "core/integers.h"
#include "cuda/kernels/winograd.h"
#include "cuda/launch.h"
#include "cuda/winograd.h"

namespace fastconv::cuda {
namespace {

PackedFilters transform_filters(const Gather& g, const FilterLines& from, std::int64_t lines,
                                std::int64_t channels, const Elements& elements, std::int32_t* largest,
                                Stream stream) {
  const std::int64_t packed_channels = round_up(channels, kPackedChannels);
  PackedFilters packed = allocate_filters(kPoints, lines, packed_channels, elements, stream);
  launch<WinogradFiltersKernel>(stream, span_blocks(lines * packed_channels), 0,
                                {g,
                                 from,
                                 lines,
                                 channels,
                                 packed_channels,
                                 {elements.type, elements.parts, packed.part_step},
                                 packed.memory->as<std::uint16_t>(),
                                 largest});
  return packed;
}

// The tiles of an image as one row of pixels with kPoints groups of channels.
ImageView row_of_tiles(const void* data, Dtype dtype, std::int64_t images, std::int64_t tiles,
                       std::int64_t channels) {
  ImageView v;
  v.data = const_cast<void*>(data);
  v.dtype = dtype;
  v.batch = images;
  v.channels = kPoints * channels;
  v.channel_stride = 1;
  v.size[kAxes - 1] = tiles;
  v.stride[kAxes - 1] = v.channels;
  for (int a = kAxes - 2; a >= 0; --a) v.stride[a] = tiles * v.channels;
  v.batch_stride = tiles * v.channels;
  return v;
}

}  // namespace

void winograd_images(const PixelGather& g, PaddingMode mode, const FilterLines& filters, std::int64_t lines,
                     const ResultStore& store, const TensorCores& cores, std::int32_t* largest_images,
                     std::int32_t* largest_filter, const Turn& turn, std::int64_t most_bytes, Stream stream) {
  const Elements& elements = cores.elements;
  WinogradTiles tiles{};
  tiles.gather = device_gather(g, mode);
  const std::int64_t channels = g.source.channels, packed_channels = round_up(channels, kPackedChannels);
  tiles.rows = Divisor(ceil_div(tiles.gather.axis[1].positions.value, kTileSide));
  tiles.columns = Divisor(ceil_div(tiles.gather.axis[2].positions.value, kTileSide));
  const std::int64_t of_image = tiles.rows.value * tiles.columns.value;
  const PackedFilters packed =
      transform_filters(tiles.gather, filters, lines, channels, elements, largest_filter, stream);

  const std::int64_t patch_bytes = of_image * kPoints * packed_channels * elements.parts *
                                   static_cast<std::int64_t>(sizeof(std::uint16_t));
  const std::int64_t sum_bytes = of_image * kPoints * lines * static_cast<std::int64_t>(sizeof(float));
  const std::int64_t images =
      std::clamp<std::int64_t>(most_bytes / (patch_bytes + sum_bytes), 1, g.source.batch);
  const StreamMemory patches(images * patch_bytes, stream), sums(images * sum_bytes, stream);
  for (std::int64_t first = 0; first < g.source.batch; first += images) {
    const std::int64_t count = std::min(images, g.source.batch - first);
    WinogradTiles some = tiles;
    some.all = count * of_image;
    some.gather.source.batch = some.gather.result.batch = count;
    some.gather.source.data = element(g.source.data, g.source.dtype, first * g.source.batch_stride);
    some.gather.result.data = element(g.result.data, g.result.dtype, first * g.result.batch_stride);
    Turn of_some = turn;
    of_some.largest.images += first;

    PackedImage image{};
    image.data = patches.as<std::uint16_t>();
    image.packing = {channels, 1, packed_channels, Divisor(channels)};
    const ImageView points = row_of_tiles(image.data, elements.type, count, of_image, packed_channels);
    image.batch_stride = points.batch_stride;
    image.part_step = count * points.batch_stride;
    std::copy(std::begin(points.size), std::end(points.size), image.size);
    std::copy(std::begin(points.stride), std::end(points.stride), image.stride);
    const std::int64_t tile_blocks = ceil_div(of_image, WinogradImageKernel::kTiles);
    launch<WinogradImageKernel>(stream, count * tile_blocks * (packed_channels / kPackedChannels),
                                WinogradImageKernel::kSharedBytes,
                                {some,
                                 channels_adjacent(g.source),
                                 channels,
                                 packed_channels,
                                 tile_blocks,
                                 {elements.type, elements.parts, image.part_step},
                                 patches.as<std::uint16_t>(),
                                 largest_images + first});

    const ImageView totals = row_of_tiles(sums.as<void>(), Dtype::float32, count, of_image, lines);
    tensor_core_images(image, own_pixels(totals), packed, kPoints, lines, {totals, {}, Dtype::float32}, cores,
                       of_some, stream);

    ResultStore results = store;
    results.result = some.gather.result;
    const std::int64_t line_blocks = ceil_div(lines, WinogradResultKernel::kLines);
    launch<WinogradResultKernel>(
        stream, ceil_div(some.all, WinogradResultKernel::kTiles) * line_blocks,
        WinogradResultKernel::kSharedBytes,
        {some, sums.as<float>(), lines, line_blocks, results, channels_adjacent(results.result), of_some});
  }
}

}  // namespace fastconv::cuda
