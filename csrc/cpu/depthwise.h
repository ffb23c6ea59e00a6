// The direct route for one input channel per group: filters that share no operand, so that a matrix product
// has nothing to gain. Each task copies the pixels that it needs, padded and widened, into planes that stay
// in the cache (cpu/pixel_planes.h); every tap is then a shifted view of them.
//
// Rows take one channel at a time and serve every call; lanes (cpu/depthwise_lanes.h) take nr neighbouring
// channels.
#pragma once

#include "core/conv_as_gemm.h"
#include "cpu/convolution.h"

namespace fastconv::cpu {

// result[pixel, r] = activation(bias[r] + sums), for the pixels of each gather; result channel r reads filter
// r through channel r / multiplier (forward), or with by_channel filters r * multiplier ... through their own
// channels (input gradient).
void filter_depthwise(const Machine& machine, const std::vector<PixelGather>& gathers,
                      const ImageView& result, const FilterView& filters, bool by_channel,
                      const Epilogue& epilogue);

// dw[k][0][t] = sum over pixels of dy[pixel, k] * x[pixel's tap t, k / multiplier]; dy is the gather's
// result.
void correlate_depthwise(const Machine& machine, const PixelGather& x, const FilterView& dw);

// What a task takes at a time, and the scratch memory of all threads: for explain().
struct DepthwiseShape {
  int64_t positions, channels, workspace_bytes;
};
DepthwiseShape depthwise_shape(const Machine& machine, const std::vector<PixelGather>& gathers,
                               const ImageView& result, int64_t multiplier);

}  // namespace fastconv::cpu
