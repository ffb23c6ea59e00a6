// Convolutions as matrix products over packed panels, without an im2col matrix in memory: the pixels that a
// task needs are gathered into a panel that stays in the cache.
#pragma once

#include <vector>

#include "core/conv_as_gemm.h"
#include "cpu/product.h"
#include "cpu/select_algorithm.h"

namespace fastconv::cpu {

// For each gather g and group: result[pixel, line] = activation(bias[line] + sum over features of pixel x
// filters). by_channel = false: lines are the group's filters, features its channels (forward); true: the
// reverse (input gradient). Of `filters`, only sizes and dtype count here.
std::unique_ptr<Product> pixel_product(const Machine& machine, std::vector<PixelGather> gathers,
                                       const FilterView& filters, bool by_channel, int64_t groups);

// dw[k][c, t] = sum over pixels of dy[pixel, k] * x[pixel, (c, t)], group by group; dy is the gather's
// result.
std::unique_ptr<Product> image_product(const Machine& machine, PixelGather x, int64_t groups,
                                       const FilterView& dw);

// dw = the sums of `slices` parts, each laid out as dw's `count` elements, added in order; the first is
// overwritten.
template <class T>
void add_slices(const Machine& machine, T* sums, int64_t slices, int64_t count, const FilterView& dw);

}  // namespace fastconv::cpu
