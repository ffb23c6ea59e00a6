#include "cuda/kernels/tensor_core_images.h"
#include "cuda/launch.h"
#include "cuda/parts.h"
#include "cuda/tensor_cores.h"
#include "cuda/with_elements.h"

namespace fastconv::cuda {

void tensor_core_images(const PackedImage& image, const PixelGather& g, const FilterLines& filters,
                        std::int64_t groups, std::int64_t lines, const ResultStore& store,
                        const Elements& elements, std::int32_t* largest_filter, const Turn& turn,
                        Stream stream) {
  const PackedFilters packed =
      pack_filters(filters, groups, lines, g, image.packing, elements, largest_filter, stream);
  TensorCoreImagesArguments a{};
  a.gather = image.gather(g);
  a.image = image.data;
  a.image_part = image.part_step;
  a.filters = packed.memory->as<std::uint16_t>();
  a.filter_part = packed.part_step;
  a.groups = groups;
  a.lines = lines;
  a.channels = image.packing.packed;
  a.pieces = a.gather.taps * a.channels / kPackedChannels;
  a.store = store;
  a.turn = turn;
  with_elements(elements, [&](auto type, auto parts) {
    with_columns(lines, [&](auto columns) {
      constexpr int kColumns = decltype(columns)::value;
      using Kernel = TensorCoreImagesKernel<decltype(type), kColumns, decltype(parts)::value>;
      a.row_tiles = ceil_div(a.gather.pixels, kTensorRows);
      a.column_tiles = ceil_div(lines, kColumns);
      // An image's sums are made the same way in every batch.
      const std::int64_t image_tiles = ceil_div(ceil_div(a.gather.pixels, g.images), kTensorRows);
      const Parts cuts = cut(a.pieces * kPackedChannels, groups * image_tiles * a.column_tiles,
                             kWantedImageBlocks, kTensorDepth);
      a.parts = cuts.count;
      a.pieces_of_part = cuts.length / kPackedChannels;
      const std::int64_t blocks = groups * a.row_tiles * a.column_tiles * a.parts;
      if (a.parts == 1) return launch<Kernel>(stream, blocks, Kernel::kSharedBytes, a);
      const std::int64_t sums = groups * lines * a.gather.pixels;
      const StreamMemory partial(a.parts * sums * static_cast<std::int64_t>(sizeof(float)), stream);
      a.partial_sums = partial.as<float>();
      launch<Kernel>(stream, blocks, Kernel::kSharedBytes, a);
      launch<ImagePartsKernel<float, TensorCoreImagesArguments> >(stream, span_blocks(sums), 0, a);
    });
  });
}

}  // namespace fastconv::cuda
