// Depthwise filters with nr neighbouring channels side by side: a task copies the pixels that it needs,
// padded and widened, into planes of nr channels, in which a tap is a shift and a stride a step. It serves
// every layout, as long as each channel has one filter and the padding can be read as one line along each
// axis. The phases of a strided input gradient read the same planes and are written once.
#pragma once

#include <optional>

#include "core/conv_as_gemm.h"
#include "cpu/pixel_planes.h"
#include "cpu/product.h"
#include "cpu/select_algorithm.h"

namespace fastconv::cpu {

struct LanesPhase {
  PixelGather gather;
  std::vector<int64_t> tap_offset;  // in the planes, for the first position
  // Position j of an axis is first + j * step among the result's own.
  int64_t first[kAxes] = {0, 0, 0}, step[kAxes] = {1, 1, 1};
};

struct LanesPlan {
  std::vector<LanesPhase> phases;
  PixelGather read;  // the source as the lines that all phases read, step 1 along the inner axes
  PlaneLayout planes;
  bool turns = false;  // the source's rows are contiguous, and nothing but zeros lies around them
  ImageView result;
  int64_t width;             // channels of a task: nr
  int64_t rows, row_blocks;  // of the result in a block; blocks of an image
  int64_t blocks;
  int64_t together;  // parts of `width` channels that a task may take

  void bind(void* source_data, void* result_data);
  int64_t plane_elements() const { return planes.copies() * planes.elements * width; }
  int64_t taps() const {  // of all phases
    int64_t n = 0;
    for (const LanesPhase& p : phases) n += p.gather.taps();
    return n;
  }
};

// Empty where lanes can't serve, or rows of pixels (cpu/depthwise_rows.h) are long enough to serve better.
// Several gathers are phases of one result; then what no phase reaches counts as a sum of zero.
std::optional<LanesPlan> plan_lanes(const Machine& machine, const std::vector<PixelGather>& gathers,
                                    const ImageView& result, int64_t multiplier);

int64_t workspace_bytes(const Machine& machine, const LanesPlan& plan);

template <class T>
void filter_lanes(const Machine& machine, const LanesPlan& plan, const FilterView& w,
                  const Epilogue& epilogue);

// Sums of each slice of the pixels: totals[part of width channels][slice][tap][width].
template <class T>
void correlate_lanes(const Machine& machine, const LanesPlan& plan, int64_t slices, double* totals);

}  // namespace fastconv::cpu
