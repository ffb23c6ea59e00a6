// Depthwise filters along rows of pixels, one channel at a time: a task copies the rows that it needs, padded
// and widened, into planes that stay in L1, in which a tap is a shift. A strided row has a copy for each
// phase of its stride; a strided column is a step in the plane. The phases of a strided input gradient read
// the same planes, and two that take turns along a row are written together.
#pragma once

#include "core/conv_as_gemm.h"
#include "cpu/pixel_planes.h"
#include "cpu/product.h"
#include "cpu/select_algorithm.h"

namespace fastconv::cpu {

// The taps of one gather, as columns (contracts/depthwise.h).
struct RowsPhase {
  std::vector<TapColumns> columns;
  std::vector<int64_t> offsets;     // of all columns
  std::vector<int64_t> kernel_tap;  // in the columns' order
  int64_t first_weight = 0;         // among those of all phases

  template <class T>
  DepthwiseTaps taps(const T* weights) const {
    return {columns.data(), static_cast<int64_t>(columns.size()), offsets.data(), weights + first_weight};
  }
};

// The positions of one gather, or of two whose positions take turns along the rows of the result.
struct RowsPart {
  PixelGather gather;  // the first one
  std::vector<RowsPhase> phases;
  int64_t width = 0;  // elements of a row of the result

  int64_t step() const { return phases.size() > 1 ? 1 : gather.result.stride[kAxes - 1]; }
};

struct RowsPlan {
  std::vector<RowsPart> parts;
  PixelGather read;  // the source as the lines that all parts read
  PlaneLayout planes;
  int64_t row_step = 1;                                // lines of a plane from a row of positions to the next
  int64_t rows = 1, columns = 1;                       // positions of a block, at most
  int64_t row_blocks = 1, row_pieces = 1, blocks = 0;  // blocks: of an image
  int vector = 1;

  void bind(void* source, void* result);
  int64_t images() const { return read.source.batch; }
  int64_t most_taps() const;
  // Of a row of sums; in a cache line of its own.
  int64_t sum_pitch() const;
};

// One plan for all gathers where these read the same lines, else several.
std::vector<RowsPlan> plan_rows(const Machine& machine, const std::vector<PixelGather>& gathers,
                                Dtype storage);

// Of a kernel with so many taps.
int64_t workspace_bytes(const Machine& machine, const RowsPlan& plan, int64_t kernel_taps);

// Result channel r reads filter r through channel r / multiplier; or with by_channel, filters r * multiplier
// ... through their own channels.
template <class T>
void filter_rows(const Machine& machine, const RowsPlan& plan, const FilterView& w, bool by_channel,
                 const Epilogue& epilogue);

// Sums of each slice of the pixels: totals[filter][slice][tap of the kernel].
template <class T>
void correlate_rows(const Machine& machine, const RowsPlan& plan, const FilterView& dw, int64_t slices,
                    double* totals);

}  // namespace fastconv::cpu
