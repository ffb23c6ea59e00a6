// Pixels as the columns of a product: a block of them is copied, channel by channel, into planes in which a
// tap is a shift. Each value is copied about once instead of once for every tap that reads it.
//
//   a plane (one channel, one copy), read as one long line:
//
//     segment 0   row 0   | columns of the block ... | halo |        position q of the block meets tap t at
//                 row 1   | columns of the block ... | halo |        element q + shift(t) of its copy
//                 halo rows
//     segment 1   row 0   ...                                        a segment's rows are neighbours
//
// Positions in the halo are computed like the others and dropped by the store. A strided axis has a copy for
// each phase of its stride, so that neighbours stay neighbours. Where halos would cost more than they save,
// an axis has a copy for each tap and no halo; with all axes so, the planes are an im2col of the block.
#pragma once

#include <vector>

#include "core/conv_as_gemm.h"
#include "cpu/kernel_table.h"

namespace fastconv::cpu {

struct AxisCopies {
  struct Place {
    int64_t copy, shift;  // position j meets the tap at element j + shift of the copy
  };
  std::vector<TapMap> copies;  // over the positions [0, positions + halo)
  std::vector<Place> taps;
  int64_t halo = 0;
};

// One copy for the taps of each phase of an axis' stride, or (false) none where they can't share: `size` is
// the source's. They have a halo of at least so many positions.
bool share_copies(const AxisGather& axis, int64_t size, AxisCopies* copies, int64_t least_halo = 0);

// A copy for each tap, without a halo.
AxisCopies copy_each_tap(const AxisGather& axis);

// Whether all gathers see the source and the result with the same axes. One that reads every pixel through
// one tap has rows and columns made one axis, which its neighbours with several taps have not.
bool seen_alike(const std::vector<PixelGather>& gathers);

// An axis of all gathers of one source as a line that is read at step 1, their taps one after the other;
// false where these can't share one copy of it, as shifts.
bool read_as_line(const std::vector<PixelGather>& gathers, int a, AxisGather* line, AxisCopies* copies);

struct PlaneLayout {
  AxisCopies axis[kAxes];
  int64_t columns = 1, rows = 1;        // of a block, at most
  int64_t row_pieces = 1, blocks = 0;   // a row falls into so many blocks; all blocks
  int64_t positions = 0, elements = 0;  // a block's panels hold so many, a plane so many, at most

  int64_t width() const { return columns + axis[kAxes - 1].halo; }
  int64_t copies() const {
    int64_t n = 1;
    for (const AxisCopies& a : axis) n *= static_cast<int64_t>(a.copies.size());
    return n;
  }
};

// What a block should take: so many positions, and so many elements in the planes of `channels` channels; it
// never has more than most_pixels (at least nr) besides the halos.
struct PlaneBudget {
  int64_t positions, elements, channels;
  int64_t most_pixels = INT64_MAX;
};

// The layout that costs the fewest cycles by a simple count of products and copies, with `filters` lines to
// multiply. No result depends on it.
PlaneLayout lay_out_planes(const PixelGather& g, const GemmKernels& kernels, int64_t filters,
                           const PlaneBudget& budget);

// The layout for sums over the pixels by vectors of `lanes`, at most `longest` of them one after the other in
// a block: halos cost no products there, but the ends of rows do. Without a halo, rows follow each other as
// one. `cycles` of a pixel and channel, with so many filters.
struct RowsLayout {
  PlaneLayout planes;
  double cycles;
};
RowsLayout lay_out_rows(const PixelGather& g, const GemmKernels& kernels, int64_t filters, int64_t lanes,
                        int64_t longest);

// The same blocks in planes for another gather with as many positions, whose taps share copies.
PlaneLayout same_blocks(const PlaneLayout& layout, const PixelGather& g, const GemmKernels& kernels);
// With the same halos besides, as far as its taps allow: panels then hold the same positions.
PlaneLayout same_planes(const PlaneLayout& layout, const PixelGather& g, const GemmKernels& kernels);

// Rows of pixels that are neighbours: positions `position` ... `position` + (0, rows - 1, columns - 1) of an
// image, at element `start` of each plane.
struct PixelSegment {
  int64_t image, position[kAxes], rows, columns, start;
};
void cut_into_segments(const PixelGather& g, const PlaneLayout& layout, int64_t block,
                       std::vector<PixelSegment>* segments);

// The positions of a block as one line: up to the last pixel of its last segment.
int64_t positions_of(const PlaneLayout& layout, const std::vector<PixelSegment>& segments);

// The same as panels of up to nr columns for a matrix product, without the rows between segments where these
// are worth a panel.
struct ColumnPanel {
  int64_t start;
  int columns;
};
void panels_of(const PlaneLayout& layout, const std::vector<PixelSegment>& segments, int nr,
               std::vector<ColumnPanel>* panels);

// Where the first position of each panel is read (source_near), or nothing where no tap reads any. Halos
// count as the position beside them.
void sources_of(const PixelGather& g, const PlaneLayout& layout, const std::vector<PixelSegment>& segments,
                const std::vector<ColumnPanel>& panels, std::vector<int64_t>* sources);

// Pixels of a block that are neighbours in the plane, from `start` on, and in the result, from element
// `result` on, where they lie result.stride apart.
struct PixelRun {
  int64_t start, count, result;
};
void runs_of(const PixelGather& g, const PlaneLayout& layout, const std::vector<PixelSegment>& segments,
             std::vector<PixelRun>* runs);

// Where the features [begin, begin + count), numbered channel * taps + tap, start in the planes of the
// channels from first_channel on.
void feature_offsets(const PlaneLayout& layout, int64_t taps, int64_t first_channel, int64_t begin,
                     int64_t count, int64_t* offsets);

}  // namespace fastconv::cpu
