#include "cuda/im2col.h"
#include "cuda/kernels/warpgroup_filters.h"
#include "cuda/launch_products.h"
#include "cuda/warpgroups.h"
#include "cuda/with_elements.h"

namespace fastconv::cuda {
namespace {

TensorMap map_upstream(const TensorCoreFiltersArguments& a, int parts) {
  constexpr std::int64_t kBytes = sizeof(std::uint16_t);
  MappedTensor t;
  t.data = a.dy;
  t.axes = 3;
  t.size[0] = a.groups * a.dy_filters;
  t.size[1] = a.gather.pixels;
  t.size[2] = parts;
  t.bytes[1] = t.size[0] * kBytes;
  t.bytes[2] = a.dy_part * kBytes;
  return map_tiles(t, {kBoxColumns, kWarpgroupDepth, 1, 1, 1}, Swizzle::bytes128);
}

}  // namespace

bool suits_warpgroups(const TensorCoreFiltersArguments& a) {
  return fills_boxes(a.packing.packed) && fits_im2col(a.gather);
}

void warpgroup_filters(const TensorCoreFiltersArguments& of, const Elements& elements, Stream stream) {
  WarpgroupFiltersArguments a{};
  static_cast<TensorCoreFiltersArguments&>(a) = of;
  const std::int64_t boxes = ceil_div(a.packing.packed, kBoxColumns);
  a.tap_boxes = Divisor(boxes);
  a.pixels = im2col_gather(a.gather, a.image, a.image_part, elements.parts, a.groups * a.packing.packed,
                           kWarpgroupDepth);
  a.dy_map = map_upstream(a, elements.parts);
  with_elements(elements, [&](auto type, auto parts) {
    with_columns(a.gather.taps * boxes * kBoxColumns, [&](auto columns) {
      constexpr int kColumns = decltype(columns)::value;
      a.column_tiles = ceil_div(a.gather.taps * boxes * kBoxColumns, kColumns);
      launch_filters<WarpgroupFiltersKernel<decltype(type), kColumns, decltype(parts)::value> >(&a, stream);
    });
  });
}

}  // namespace fastconv::cuda
