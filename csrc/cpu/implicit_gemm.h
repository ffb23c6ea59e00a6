// Convolutions as matrix products over packed panels, without an im2col matrix in memory: the pixels that a
// task needs are gathered into a panel that stays in the cache.
#pragma once

#include <vector>

#include "core/conv_as_gemm.h"
#include "cpu/blocking.h"
#include "cpu/convolution.h"
#include "cpu/packing.h"

namespace fastconv::cpu {

// For each gather g and group: result[pixel, line] = activation(bias[line] + sum over features of pixel x
// filters). by_channel = false: lines are the group's filters, features its channels (forward); true: the
// reverse (input gradient).
void multiply_pixels_by_filters(const Machine& machine, const std::vector<PixelGather>& gathers,
                                const FilterView& filters, bool by_channel, int64_t groups,
                                const Epilogue& epilogue);

// dw[k][c, t] = sum over pixels of dy[pixel, k] * x[pixel, (c, t)], group by group. x and dy number their
// pixels alike.
void multiply_images(const Machine& machine, const PixelGather& dy, const PixelGather& x, int64_t groups,
                     const FilterView& dw);

// dw = the sums of `slices` parts, each laid out as dw's `count` elements, added in order; the first is
// overwritten.
template <class T>
void add_slices(const Machine& machine, T* sums, int64_t slices, int64_t count, const FilterView& dw);

// How the products above cut the work; what they use and what explain() shows.
struct ProductShape {
  bool pixels_are_rows;
  FeatureOrder order;
  GemmBlocking blocking;
  PlaneLayout planes;                             // where pixels are columns
  int64_t chunks, lines, packed_filter_elements;  // of one group
};
ProductShape shape_of(const Machine& machine, const PixelGather& g, const FilterView& filters,
                      bool by_channel, int64_t groups, int64_t products);
struct WeightGradientShape {
  bool features_are_rows;
  FeatureOrder order;
  WeightGradientBlocking blocking;
};
WeightGradientShape shape_of(const Machine& machine, const PixelGather& dy, const PixelGather& x,
                             int64_t groups);

int64_t workspace_bytes(const Machine& machine, const std::vector<PixelGather>& gathers,
                        const FilterView& filters, bool by_channel, int64_t groups);
int64_t workspace_bytes(const Machine& machine, const PixelGather& dy, const PixelGather& x, int64_t groups);

}  // namespace fastconv::cpu
