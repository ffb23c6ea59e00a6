// Gradients of filters by warpgroups (warpgroup_tile.h): tiled copies bring the packed upstream gradient,
// im2col copies the packed pixels that a tap gathers from the image.
//
// Columns come in boxes of 64: a box is so many of a tap's channels, or what is left of them and columns that
// nobody stores. Beyond the last pixel both operands are zeros.
#pragma once

#include "cuda/kernels/im2col.h"
#include "cuda/kernels/tensor_core_filters.h"
#include "cuda/kernels/warpgroup_tile.h"

namespace fastconv::cuda {

constexpr int kBoxColumns = 64;

struct WarpgroupFiltersArguments : TensorCoreFiltersArguments {
  Im2colGather pixels;
  TensorMap dy_map;   // filter of all groups, pixel, part
  Divisor tap_boxes;  // of a tap's channels
};

template <class T, int kColumns, int kParts>
struct WarpgroupFiltersKernel {
  using Arguments = WarpgroupFiltersArguments;
  using Tile = WarpgroupTile<T, kColumns, kParts, Major::mn>;
  static constexpr int kDepth = kWarpgroupDepth, kBoxes = kColumns / kBoxColumns;
  static constexpr int kThreads = Tile::kThreads, kResidentBlocks = Tile::kResidentBlocks;
  static constexpr std::int64_t kSharedBytes = Tile::kSharedBytes;

  struct Source {
    const Arguments& a;
    std::int64_t pixel;
    int filter, channel[kBoxes];  // of all groups
    Im2colOffset offset[kBoxes];

    FASTCONV_DEVICE Source(const Arguments& arguments, const FilterTile& t)
        : a(arguments), pixel(t.first_pixel) {
      filter = static_cast<int>(t.group * a.dy_filters + t.first_filter);
      FASTCONV_UNROLL
      for (int i = 0; i < kBoxes; ++i) {
        const Quotient box = divide(t.first_column / kBoxColumns + i, a.tap_boxes);
        const bool exists = box.quotient < a.gather.taps;
        offset[i].set(a.gather, a.pixels, exists ? box.quotient : 0);
        // No pixel has channels beyond the last group's.
        channel[i] = static_cast<int>(exists ? t.group * a.packing.packed + box.remainder * kBoxColumns
                                             : a.groups * a.packing.packed);
      }
    }
    FASTCONV_DEVICE void copy(unsigned char* to, Mbarrier* done) {
      Im2colPlace place;
      place.set(a.gather, a.pixels, pixel);
      const int number = static_cast<int>(pixel);
      FASTCONV_UNROLL
      for (int part = 0; part < kParts; ++part) {
        unsigned char* const rows = to + part * Tile::kRowBytes;
        unsigned char* const columns = to + kParts * Tile::kRowBytes + part * Tile::kColumnBytes;
        FASTCONV_UNROLL
        for (int i = 0; i < kTensorRows / kBoxColumns; ++i)
          copy_tile(rows + i * Tile::kBoxBytes, a.dy_map, done, {filter + i * kBoxColumns, number, part});
        FASTCONV_UNROLL
        for (int i = 0; i < kBoxes; ++i)
          copy_pixels(columns + i * Tile::kBoxBytes, a.pixels, part, done, channel[i], place, offset[i]);
      }
      pixel += kDepth;
    }
  };

  FASTCONV_DEVICE static void run(const Arguments& a) {
    if (!is_turn(a.turn, 0)) return;
    const FilterTile t = filter_tile<kTensorRows, kColumns>(a);
    const std::int64_t steps = (t.end_pixel - t.first_pixel + kDepth - 1) / kDepth;
    Tile::begin();
    if (Tile::is_consumer()) {
      Tile::become_consumer();
      Tile tile;
      tile.consume(steps);
      store_filter_tile<kTensorRows, kColumns, Tile::kConsumers>(
          a, t, tile.result(), Tile::kResultPitch, thread_index(), [&](int column) {
            const std::int64_t of_boxes = t.first_column + column;
            const Quotient box = divide(of_boxes / kBoxColumns, a.tap_boxes);
            const std::int64_t channel = box.remainder * kBoxColumns + of_boxes % kBoxColumns;
            return channel < a.packing.packed ? box.quotient * a.packing.packed + channel : a.columns;
          });
    } else {
      Tile::become_producer();
      Tile::produce(steps, [&] { return Source(a, t); });
    }
  }
};

}  // namespace fastconv::cuda
