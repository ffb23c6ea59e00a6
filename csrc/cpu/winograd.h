// Winograd's minimal filtering for kernels of 3x3 along the two inner axes, and of pieces of 3x3
// (cpu/winograd_tiles.h). A tile of m x m outputs costs (m + 2)^2 multiplications for each pair of channels
// instead of 9 m^2: over all channels and tiles these are (m + 2)^2 matrix products. What three linear maps
// cost beside them grows with the pixels alone (kernels/winograd_transform.h has the formula and the source).
//
// The pixels that tiles read are a gather of step m with m + 2 taps an axis, packed as planes and mapped in
// each task; filters are mapped once; the products, one for each element of a mapped tile, are the
// micro-kernel's. Pieces, and the taps of a further axis, are part of the reduction.
//
// The maps add and subtract neighbours, so a value beyond 2^50 would drown the others of its tile, an Inf
// spoil them, and values near float32's smallest would lose their bits: images and filters with such values
// take the implicit product, image by image.
#pragma once

#include "core/conv_as_gemm.h"
#include "cpu/product.h"
#include "cpu/select_algorithm.h"

namespace fastconv::cpu {

// result[pixel, line] as in pixel_product, by tiles of m x m outputs (2 or 4).
std::unique_ptr<Product> winograd_product(const Machine& machine, int m, PixelGather g,
                                          const FilterView& filters, bool by_channel, int64_t groups);

// dw as in image_product; the gather's result is dy.
std::unique_ptr<Product> winograd_image_product(const Machine& machine, int m, PixelGather x, int64_t groups,
                                                const FilterView& dw);

}  // namespace fastconv::cpu
