// The products of tensor_cores.h by warpgroups (kernels/warpgroup_tile.h), for devices that have such code.
#pragma once

#include "cuda/kernels/tensor_core_filters.h"
#include "cuda/kernels/tensor_core_images.h"
#include "cuda/packing.h"

namespace fastconv::cuda {

// Whether they can serve a product and should. The arguments are complete but for what depends on tiles.
bool suits_warpgroups(const TensorCoreImagesArguments& a);
bool suits_warpgroups(const TensorCoreFiltersArguments& a);

void warpgroup_images(const TensorCoreImagesArguments& a, const Elements& elements, std::int64_t images,
                      Stream stream);
void warpgroup_filters(const TensorCoreFiltersArguments& a, const Elements& elements, Stream stream);

}  // namespace fastconv::cuda
