// The direct route for one input channel per group: filters that share no operand, so that a matrix product
// has nothing to gain. Each task copies the pixels that it needs, padded and widened, into planes that stay
// in the cache (cpu/pixel_planes.h); every tap is then a shifted view of them.
//
// Rows (cpu/depthwise_rows.h) take one channel at a time and serve every call; lanes (cpu/depthwise_lanes.h)
// take nr neighbouring channels.
#pragma once

#include "core/conv_as_gemm.h"
#include "cpu/product.h"
#include "cpu/select_algorithm.h"

namespace fastconv::cpu {

// result[pixel, r] = activation(bias[r] + sums), for the pixels of each gather; result channel r reads filter
// r through channel r / multiplier (forward), or with by_channel filters r * multiplier ... through their own
// channels (input gradient). Of `filters`, only sizes and dtype count here.
std::unique_ptr<Product> depthwise_product(const Machine& machine, const std::vector<PixelGather>& gathers,
                                           const ImageView& result, const FilterView& filters,
                                           bool by_channel);

// dw[k][0][t] = sum over pixels of dy[pixel, k] * x[pixel's tap t, k / multiplier]; dy is the gather's
// result.
std::unique_ptr<Product> depthwise_image_product(const Machine& machine, const PixelGather& x,
                                                 const FilterView& dw);

}  // namespace fastconv::cpu
