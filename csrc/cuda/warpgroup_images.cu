#include "cuda/im2col.h"
#include "cuda/kernels/warpgroup_images.h"
#include "cuda/launch_products.h"
#include "cuda/warpgroups.h"
#include "cuda/with_elements.h"

namespace fastconv::cuda {
namespace {

TensorMap map_filters(const TensorCoreImagesArguments& a, int parts, int lines) {
  MappedTensor t;
  t.data = a.filters;
  t.axes = 4;
  const std::int64_t size[] = {a.channels, a.gather.taps, a.groups * a.lines, parts};
  std::int64_t bytes = sizeof(std::uint16_t);
  for (int i = 0; i < t.axes; ++i) {
    t.size[i] = size[i];
    t.bytes[i] = bytes;
    bytes *= size[i];
  }
  return map_tiles(t, {kWarpgroupDepth, 1, lines, 1, 1}, Swizzle::bytes128);
}

}  // namespace

bool suits_warpgroups(const TensorCoreImagesArguments& a) {
  // Zeros times what copies bring of the next group may be NaN.
  const bool by_itself = a.groups == 1 || a.channels % kWarpgroupDepth == 0;
  return by_itself && fills_boxes(a.channels) && fits_im2col(a.gather);
}

void warpgroup_images(const TensorCoreImagesArguments& of, const Elements& elements, std::int64_t images,
                      Stream stream) {
  WarpgroupImagesArguments a{};
  static_cast<TensorCoreImagesArguments&>(a) = of;
  a.pixels =
      im2col_gather(a.gather, a.image, a.image_part, elements.parts, a.groups * a.channels, kTensorRows);
  with_elements(elements, [&](auto type, auto parts) {
    with_columns(a.lines, [&](auto columns) {
      constexpr int kColumns = decltype(columns)::value;
      a.filter_map = map_filters(a, elements.parts, kColumns);
      launch_images<WarpgroupImagesKernel<decltype(type), kColumns, decltype(parts)::value> >(&a, images,
                                                                                              stream);
    });
  });
}

}  // namespace fastconv::cuda
