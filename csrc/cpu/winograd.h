// Winograd's minimal filtering for kernels of 3x3 at stride 1 along the two inner axes. A tile of m x m
// outputs costs (m + 2)^2 multiplications for each pair of channels instead of 9 m^2: over all channels and
// tiles these are (m + 2)^2 matrix products. What three linear maps cost beside them grows with the pixels
// alone (kernels/winograd_transform.h has the formula and the source).
//
// The pixels that tiles read are a gather of step m with m + 2 taps an axis, packed as planes and mapped in
// each task; filters are mapped once; the products, one for each element of a mapped tile, are the
// micro-kernel's. Further axes and their taps are part of the reduction.
//
// The maps add and subtract neighbours, so a value beyond 2^50 would drown the others of its tile, an Inf
// spoil them, and values near float32's smallest would lose their bits: images and filters with such values
// take the implicit product, image by image.
#pragma once

#include "core/conv_as_gemm.h"
#include "cpu/blocking.h"
#include "cpu/convolution.h"

namespace fastconv::cpu {

// result[pixel, line] as in multiply_pixels_by_filters, by tiles of m x m outputs (2 or 4).
void filter_winograd(const Machine& machine, int m, const PixelGather& g, const FilterView& filters,
                     bool by_channel, int64_t groups, const Epilogue& epilogue);

// How a product is cut: for the driver and for explain().
struct WinogradShape {
  int m;
  bool pixels_are_rows;
  PixelGather tiles;
  std::vector<int64_t> kernel_tap;  // of each outer tap, the 3x3 in reading order
  WinogradBlocking blocking;
  int64_t channels, outer, lines;  // of one group
  int64_t packed_filter_elements;  // of all groups
  int64_t workspace_bytes;         // of all threads, the mapped filters with them

  int64_t streams() const { return int64_t{m + 2} * (m + 2); }
};
WinogradShape winograd_shape(const Machine& machine, int m, const PixelGather& g, const FilterView& filters,
                             bool by_channel, int64_t groups);

// dw as in multiply_images; the gather's result is dy.
void correlate_winograd(const Machine& machine, int m, const PixelGather& x, int64_t groups,
                        const FilterView& dw);

struct WinogradGradientShape {
  int m;
  std::vector<PixelGather> x_tiles;  // of each outer tap
  PixelGather dy_tiles;
  PlaneLayout dy_planes;
  WinogradBlocking blocking;  // rows are filters, columns channels; the planes are x's
  int64_t taps, features;     // of a channel, of a filter
  int64_t slices, slice_blocks, workspace_bytes;

  int64_t streams() const { return int64_t{m + 2} * (m + 2); }
};
WinogradGradientShape winograd_gradient_shape(const Machine& machine, int m, const PixelGather& x,
                                              int64_t groups);

}  // namespace fastconv::cpu
