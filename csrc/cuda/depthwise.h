// Depthwise convolutions (kernels/depthwise.h): part of the direct route.
#pragma once

#include "cuda/kernels/filter_product.h"
#include "cuda/kernels/image_product.h"
#include "cuda/runtime.h"

namespace fastconv::cuda {

// Both return false, and do nothing, where the product is no such one.
bool depthwise_images(const ImageProductArguments& a, Stream stream);
bool depthwise_filters(const FilterProductArguments& a, Stream stream);

}  // namespace fastconv::cuda
