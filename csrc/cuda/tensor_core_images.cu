#include "cuda/kernels/tensor_core_images.h"
#include "cuda/launch_products.h"
#include "cuda/tensor_cores.h"
#include "cuda/warpgroups.h"
#include "cuda/with_elements.h"

namespace fastconv::cuda {

void tensor_core_images(const PackedImage& image, const PixelGather& g, const PackedFilters& filters,
                        std::int64_t groups, std::int64_t lines, const ResultStore& store,
                        const TensorCores& cores, const Turn& turn, Stream stream) {
  TensorCoreImagesArguments a{};
  a.gather = image.gather(g);
  a.image = image.data;
  a.image_part = image.part_step;
  a.filters = filters.memory->as<std::uint16_t>();
  a.filter_part = filters.part_step;
  a.groups = groups;
  a.lines = lines;
  a.channels = image.packing.packed;
  a.store = store;
  a.turn = turn;
  if (cores.warpgroups && suits_warpgroups(a)) return warpgroup_images(a, cores.elements, g.images, stream);
  with_elements(cores.elements, [&](auto type, auto parts) {
    with_columns(lines, [&](auto columns) {
      launch_images<
          TensorCoreImagesKernel<decltype(type), decltype(columns)::value, decltype(parts)::value> >(
          &a, g.images, stream);
    });
  });
}

}  // namespace fastconv::cuda
