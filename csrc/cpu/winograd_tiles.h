// The pixels that Winograd's tiles read, as a gather of their own.
#pragma once

#include "core/conv_as_gemm.h"

namespace fastconv::cpu {

// Whether a gather's inner two axes each read three neighbours at step 1, whatever the padding: `tiles` then
// reads, for m x m positions together, the (m + 2) x (m + 2) elements that they read, and kernel_tap holds, for
// each outer tap, the kernel's 3x3 in the order of the elements they meet.
bool tile_gather(const PixelGather& g, int m, PixelGather* tiles, std::vector<int64_t>* kernel_tap);

}  // namespace fastconv::cpu
