#include "cuda/kernels/tensor_core_filters.h"
#include "cuda/launch_products.h"
#include "cuda/tensor_cores.h"
#include "cuda/warpgroups.h"
#include "cuda/with_elements.h"

namespace fastconv::cuda {

void tensor_core_filters(const PackedImage& dy, const PackedImage& image, const PixelGather& g,
                         std::int64_t groups, const FilterView& dw, const TensorCores& cores,
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
  if (cores.warpgroups && suits_warpgroups(a)) return warpgroup_filters(a, cores.elements, stream);
  with_elements(cores.elements, [&](auto type, auto parts) {
    with_columns(a.columns, [&](auto columns) {
      constexpr int kColumns = decltype(columns)::value;
      using Kernel = TensorCoreFiltersKernel<decltype(type), kColumns, decltype(parts)::value>;
      a.pixels_apart = pixels_apart(a.gather, kTensorDepth / Kernel::Tile::Columns::kPieces);
      a.column_tiles = ceil_div(a.columns, kColumns);
      launch_filters<Kernel>(&a, stream);
    });
  });
}

}  // namespace fastconv::cuda
