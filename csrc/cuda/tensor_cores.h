// A convolution's products on tensor cores, from packed operands (packing.h). Such a product says nothing of
// operands that a split can't carry: then it is not its turn.
#pragma once

#include "cuda/kernels/image_product.h"
#include "cuda/packing.h"

namespace fastconv::cuda {

// What multiplies: kernels of mma.sync, or of warpgroups where the device has code for these and they suit a
// product.
struct TensorCores {
  Elements elements;
  bool warpgroups;
};

// The pixels of a gather from a packed image times `lines` filters a group.
void tensor_core_images(const PackedImage& image, const PixelGather& g, const PackedFilters& filters,
                        std::int64_t groups, std::int64_t lines, const ResultStore& store,
                        const TensorCores& cores, const Turn& turn, Stream stream);

// dw, of the pixels of dy and of those that g gathers from a packed image.
void tensor_core_filters(const PackedImage& dy, const PackedImage& image, const PixelGather& g,
                         std::int64_t groups, const FilterView& dw, const TensorCores& cores,
                         const Turn& turn, Stream stream);

}  // namespace fastconv::cuda
