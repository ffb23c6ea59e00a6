// Depthwise filters with nr neighbouring channels side by side: a task copies the pixels that it needs,
// padded and widened, into planes of nr channels, in which a tap is a shift and a stride a step. It serves
// every layout, as long as each channel has one filter and the padding can be read as one line along each
// axis.
#pragma once

#include <optional>

#include "core/conv_as_gemm.h"
#include "cpu/convolution.h"
#include "cpu/pixel_planes.h"

namespace fastconv::cpu {

struct LanesPlan {
  int width;         // channels of a task: nr
  PixelGather read;  // the gather's source, read as lines: step 1 along the inner axes
  PlaneLayout planes;
  std::vector<int64_t> tap_offset;  // in the planes, for the first position
  int64_t rows, row_blocks;         // result rows of a block

  int64_t plane_elements() const { return planes.copies() * planes.elements * width; }
};

// Empty where lanes can't serve, or rows of pixels (cpu/depthwise.cpp) are long enough to serve better.
std::optional<LanesPlan> plan_lanes(const Machine& machine, const PixelGather& g, int64_t multiplier);

int64_t workspace_bytes(const Machine& machine, const PixelGather& g, const LanesPlan& plan);

template <class T>
void filter_lanes(const Machine& machine, const PixelGather& g, const LanesPlan& plan, const FilterView& w,
                  const Epilogue& epilogue);

// Sums of each slice of the pixels: double totals[part of width channels][slice][tap][width].
template <class T>
void correlate_lanes(const Machine& machine, const PixelGather& g, const LanesPlan& plan, int64_t slices,
                     int64_t channels, double* totals);

}  // namespace fastconv::cpu
