// How a product on tiles is cut, and its filters, packed for it.
#pragma once

#include <atomic>

#include "core/conv_as_gemm.h"
#include "core/integers.h"
#include "cpu/blocking.h"
#include "cpu/select_algorithm.h"

namespace fastconv::cpu {

constexpr int64_t kTileSide = 2 * kTileRows;              // filters of two tiles, positions of two tiles
constexpr int64_t kTilePairElements = 2 * kTileElements;  // of two tiles of filters
constexpr int64_t kTileSums = kTileSide * kTileSide;      // sums of a panel and a pair

// Steps that are summed up from zero, and the chunk of lines that they read.
struct StepChain {
  int64_t first, steps, chunk;
};

// How one gather's product is cut.
struct TileShape {
  bool pixels_are_rows, checked;  // checked: values may not split well
  int parts;
  int64_t channels, taps, lines;  // of one group
  TileBlocking blocking;
  std::vector<StepChain> chains;
  int64_t pairs, filter_blocks;

  int64_t step_elements() const { return parts * kTilePairElements; }
  int64_t packed_elements() const { return blocking.steps() * pairs * step_elements(); }  // of a group
  int64_t plane_lines() const { return blocking.planes.copies() * blocking.planes.elements; }
  // Lines of a block of A in one part.
  int64_t block_lines() const { return blocking.gathered ? blocking.planes.elements : plane_lines(); }
  int64_t panels() const { return ceil_div(blocking.planes.positions, kTileSide); }
};

struct TilePart {
  PixelGather gather;
  TileShape shape;
  bool taps_in_order;  // those of the whole kernel
  int64_t first_element, first_task;
};

// A maximum over the tasks of several threads.
inline void raise_magnitude(std::atomic<std::uint32_t>* largest, std::uint32_t magnitude) {
  std::uint32_t before = largest->load(std::memory_order_relaxed);
  while (before < magnitude &&
         !largest->compare_exchange_weak(before, magnitude, std::memory_order_relaxed)) {
  }
}

// The filters of all groups as [group][chain][pair][step][part][two tiles]. Returns the bits of the largest
// magnitude, as MagnitudeRows has them, or 0 where the shape is not `checked`.
std::uint32_t pack_tile_filters(const Machine& machine, const TilePart& part, const FilterView& w,
                                bool by_channel, int64_t groups, BFloat16* packed);

}  // namespace fastconv::cpu
