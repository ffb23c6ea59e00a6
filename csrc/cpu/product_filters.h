// How a product of pixels and filters is cut, and its filters, packed for it.
#pragma once

#include <algorithm>
#include <vector>

#include "core/conv_as_gemm.h"
#include "core/integers.h"
#include "cpu/blocking.h"
#include "cpu/packed_product.h"
#include "cpu/packing.h"
#include "cpu/parallel.h"

namespace fastconv::cpu {

// How one gather's product is cut.
struct ProductShape {
  bool pixels_are_rows;
  // Whether filters lie in memory as the product wants them, line by line, and too few pixels pass to make a
  // packed copy worth its while.
  bool filters_in_place;
  FeatureOrder order;
  PlaneBlocking cut;                              // planes where pixels are columns
  int64_t chunks, lines, packed_filter_elements;  // of one group
  int64_t pixel_blocks, filter_blocks;

  int64_t chunk_elements() const { return packed_filter_elements / chunks; }
};

// One gather, and its place among the packed filters.
struct ProductPart {
  PixelGather gather;
  ProductShape shape;
  bool taps_in_order;  // those of the whole kernel
  bool same_pixels;    // as the part before has packed
  int64_t first_element;
  // Of two parts whose results alternate along a row the first one waits: the second stores both.
  bool waits = false, stores_two = false;
};

// Filters that no second block of pixels reads are packed by the task that does, unless their form is kept:
// they need not pass through memory.
inline bool task_packs_filters(const ProductShape& s) { return !s.filters_in_place && s.pixel_blocks == 1; }
inline bool packs_filters_first(const ProductShape& s) { return !s.filters_in_place && s.pixel_blocks > 1; }

// A chunk of a block of filters, packed.
inline int64_t filter_block_elements(const ProductShape& s, const GemmKernels& k) {
  const GemmBlocking& b = s.cut.gemm;
  return s.pixels_are_rows ? b.cols * b.depth : b.rows * k.row_pitch;
}

inline PanelLayout filter_layout(const ProductShape& s, const GemmKernels& k, int64_t depth) {
  return s.pixels_are_rows ? PanelLayout::columns(k, depth) : PanelLayout::rows(k, s.lines);
}

// Chunk `index` of the reduction: [begin, begin + depth).
inline int64_t chunk_depth(const ProductShape& s, int64_t index) {
  return std::min(s.cut.gemm.depth, s.order.count() - index * s.cut.gemm.depth);
}

// The filters of a product, and where one part's packed ones lie: [group][chunk]. Null: tasks pack them.
template <class T>
struct ProductFilters {
  FilterView view;
  bool by_channel;
  int64_t groups;
  T* packed;

  void pack(const Machine& machine, const ProductPart& part, int64_t group, int64_t chunk, int64_t first,
            int64_t lines, T* to) const {
    const ProductShape& s = part.shape;
    const int64_t depth = chunk_depth(s, chunk);
    const FilterMatrix matrix{view, by_channel, group * (view.filters / groups), part.taps_in_order};
    pack_filters(*machine.table, matrix, part.gather.kernel_tap, s.order, first, lines,
                 chunk * s.cut.gemm.depth, depth, filter_layout(s, kernels_of<T>(*machine.table), depth), to);
  }

  T* place(const Machine& machine, const ProductShape& s, int64_t group, int64_t chunk, int64_t first) const {
    const int64_t pitch = s.pixels_are_rows ? chunk_depth(s, chunk) : kernels_of<T>(*machine.table).row_pitch;
    return packed + (group * s.chunks + chunk) * s.chunk_elements() + first * pitch;
  }

  void pack_all(const Machine& machine, const ProductPart& part) const {
    const ProductShape& s = part.shape;
    const GemmKernels& k = kernels_of<T>(*machine.table);
    const int64_t step = 4 * (s.pixels_are_rows ? k.nr : k.mr), blocks = ceil_div(s.lines, step);
    const double work = kNsPerElement * static_cast<double>(groups * s.lines * s.order.count());
    parallel_for(groups * s.chunks * blocks, work, machine.threads, [&](int64_t task, int) {
      const int64_t group = task / (s.chunks * blocks), chunk = task / blocks % s.chunks,
                    first = task % blocks * step;
      pack(machine, part, group, chunk, first, std::min(step, s.lines - first),
           place(machine, s, group, chunk, first));
    });
  }
};

}  // namespace fastconv::cpu
