// Products on tiles of bfloat16: a float32 value is the sum of up to three bfloat16 parts, and a product of
// two is the sum of the largest products of their parts, summed up in float32. A tile multiplies fifteen
// times what the vectors do in its time: six products for `highest` still leave more than twice their rate.
//
// The pixels that a task reads are packed as planes (cpu/pixel_planes.h) whose elements are *lines* of 32
// channels, a plane for each part: a tap is a shift by whole lines, and a tile of A is 16 neighbouring
// positions. Where channels are few, a line is 32 features of a position, taps and channels together. Filters
// are split and packed once a call, in pairs of neighbouring features, as the tiles take them.
//
// Splitting an infinity makes a NaN, the largest numbers round to infinities, and parts of the smallest are
// flushed: images and filters with such values take the implicit product, image by image.
#pragma once

#include "core/conv_as_gemm.h"
#include "cpu/product.h"
#include "cpu/select_algorithm.h"

namespace fastconv::cpu {

// The parts that values of a storage type need for a precision; float16's 11 bits are in two, and bfloat16's
// in one.
int tile_parts(Dtype dtype, Precision precision);

// result[pixel, line] as in pixel_product; the machine's table has tiles.
std::unique_ptr<Product> tile_product(const Machine& machine, Precision precision,
                                      std::vector<PixelGather> gathers, const FilterView& filters,
                                      bool by_channel, int64_t groups);

}  // namespace fastconv::cpu
