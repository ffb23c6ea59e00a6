#include "cuda/kernels/tensor_core_filters.h"
#include "cuda/launch.h"
#include "cuda/parts.h"
#include "cuda/tensor_cores.h"
#include "cuda/with_elements.h"

namespace fastconv::cuda {

void tensor_core_filters(const PackedImage& dy, const PackedImage& image, const PixelGather& g,
                         std::int64_t groups, const FilterView& dw, const Elements& elements,
                         const Turn& turn, Stream stream) {
  TensorCoreFiltersArguments a{};
  a.gather = image.gather(g);
  a.image = image.data;
  a.image_part = image.part_step;
  a.dy = dy.data;
  a.dy_part = dy.part_step;
  a.groups = groups;
  a.filters = dw.filters / groups;
  a.dy_filters = dy.packing.packed;
  a.packing = image.packing;
  a.columns = a.gather.taps * a.packing.packed;
  a.dtype = dw.dtype;
  a.dw = dw.data;
  a.taps = dw.taps;
  a.turn = turn;
  with_elements(elements, [&](auto type, auto parts) {
    with_columns(a.columns, [&](auto columns) {
      constexpr int kColumns = decltype(columns)::value;
      using Kernel = TensorCoreFiltersKernel<decltype(type), kColumns, decltype(parts)::value>;
      a.pixels_apart = pixels_apart(a.gather, kTensorDepth / Kernel::Tile::Columns::kPieces);
      a.row_tiles = ceil_div(a.filters, kTensorRows);
      a.column_tiles = ceil_div(a.columns, kColumns);
      const std::int64_t tiles = groups * a.row_tiles * a.column_tiles;
      const Parts cuts = cut(a.gather.pixels, tiles, kWantedFilterBlocks, kTensorDepth);
      a.parts = cuts.count;
      a.pixels_of_part = cuts.length;
      if (a.parts == 1) return launch<Kernel>(stream, tiles, Kernel::Tile::kSharedBytes, a);
      const std::int64_t sums = groups * a.filters * a.columns;
      const StreamMemory partial(a.parts * sums * static_cast<std::int64_t>(sizeof(float)), stream);
      a.partial_sums = partial.as<float>();
      launch<Kernel>(stream, tiles * a.parts, Kernel::Tile::kSharedBytes, a);
      launch<TensorCoreFilterPartsKernel>(stream, span_blocks(sums), 0, a);
    });
  });
}

}  // namespace fastconv::cuda
