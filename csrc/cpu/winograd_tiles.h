// The pixels that Winograd's tiles read, as a gather of their own.
#pragma once

#include "core/conv_as_gemm.h"
#include "core/integers.h"

namespace fastconv::cpu {

// Whether a gather's inner two axes each read three neighbours at step 1, whatever the padding: `tiles` then
// reads, for m x m positions together, the (m + 2) x (m + 2) elements that they read, and kernel_tap holds,
// for each outer tap, the kernel's 3x3 in the order of the elements they meet.
bool tile_gather(const PixelGather& g, int m, PixelGather* tiles, std::vector<int64_t>* kernel_tap);

// An image's own pixels as tiles: m x m of them together.
PixelGather own_tiles(const ImageView& image, int m);

constexpr int64_t kWinogradTaps = 9;  // of 3x3

// Terms of a chain of additions. The maps cost some of the bits, and shorter chains win them back; tiles of 4
// do not aim at the last bits.
inline int64_t winograd_chain(int m, int64_t depth) { return m == 2 ? even_part(depth, 32) : depth; }

// Elements from one stream to the next, of so many each: an odd number of cache lines, since a map writes to
// all its streams in turn, which must not meet in one set of L1.
constexpr int64_t stream_stride(int64_t elements) { return (ceil_div(elements, 16) | 1) * 16; }

}  // namespace fastconv::cpu
