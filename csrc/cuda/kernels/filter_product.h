// Gradients of filters: the upstream gradient's channels times pixels gathered from the image, summed over
// pixels. Parts of the pixels may go to blocks of their own; what a part is follows from the problem alone.
#pragma once

#include "cuda/kernels/packing.h"
#include "cuda/kernels/product_tile.h"

namespace fastconv::cuda {

struct FilterProductArguments {
  Gather gather;  // of the image; its result's positions and strides are dy's
  const void* dy;
  Dtype dy_dtype, dtype;
  void* dw;                                // [group, filter][channel][tap]
  std::int64_t groups, filters, channels;  // of a group
  std::int64_t columns;                    // channels and taps
  std::int64_t row_tiles, column_tiles;
  Divisor inner;  // columns: (channel, tap) by taps, or (tap, channel) by channels
  std::int64_t parts, pixels_of_part;
  void* partial_sums;  // [part][group, filter][column], where there are several
  Turn turn;
};

struct FilterBlock {
  std::int64_t column_tile, row_tile, part, group;
};

// What the block sums. A grid has fewer than 2^31 blocks: 32 bits do, and leave the sums their registers.
FASTCONV_DEVICE FilterBlock filter_block(const FilterProductArguments& a) {
  const auto columns = static_cast<std::uint32_t>(a.column_tiles),
             rows = static_cast<std::uint32_t>(a.row_tiles);
  const auto parts = static_cast<std::uint32_t>(a.parts), number = static_cast<std::uint32_t>(block_index());
  const std::uint32_t row = number / columns, part = row / rows;
  return {number % columns, row % rows, part % parts, part / parts};
}

struct FilterColumn {
  std::int64_t channel, tap;
};

// kChannelsAdjacent: channels are neighbours in memory, in the image and in dy; else pixels are.
template <bool kChannelsAdjacent>
FASTCONV_DEVICE FilterColumn filter_column(const FilterProductArguments& a, std::int64_t column) {
  const Quotient q = divide(column, a.inner);
  return kChannelsAdjacent ? FilterColumn{q.remainder, q.quotient} : FilterColumn{q.quotient, q.remainder};
}

template <class T, bool kChannelsAdjacent>
FASTCONV_DEVICE void store_filter(const FilterProductArguments& a, std::int64_t filter, std::int64_t column,
                                  T sum) {
  const FilterColumn c = filter_column<kChannelsAdjacent>(a, column);
  store<T>(a.dtype, a.dw, (filter * a.channels + c.channel) * a.gather.taps + c.tap, sum);
}

template <class T, int kColumns, bool kChannelsAdjacent>
struct FilterProductKernel {
  using Arguments = FilterProductArguments;
  using Tile = ProductTile<T, kColumns>;
  static constexpr int kThreads = kTileThreads;

  struct Filters : FetchOrder<kTileRows, Tile::kRowPitch, kChannelsAdjacent> {
    const Arguments& a;
    std::int64_t first_line, first_channel;

    FASTCONV_DEVICE Filters(const Arguments& arguments, std::int64_t first, std::int64_t group)
        : a(arguments), first_line(first), first_channel(group * arguments.filters) {}
    FASTCONV_DEVICE void fetch(std::int64_t k, std::int64_t end, T (&values)[Tile::kRowFetches]) const {
      FASTCONV_UNROLL
      for (int i = 0; i < Tile::kRowFetches; ++i) {
        const std::int64_t pixel = k + Filters::depth(i), line = first_line + Filters::line(i);
        values[i] = 0;
        if (pixel >= end || line >= a.filters) continue;
        values[i] = load<T>(a.dy_dtype, a.dy,
                            result_offset(a.gather, pixel_at(a.gather, pixel)) +
                                (first_channel + line) * a.gather.result.channel_stride);
      }
    }
  };

  struct Image : FetchOrder<kColumns, Tile::kColumnPitch, kChannelsAdjacent> {
    const Arguments& a;
    std::int64_t channel[Tile::kColumnFetches];
    Tap tap[Tile::kColumnFetches];
    bool inside[Tile::kColumnFetches];

    FASTCONV_DEVICE Image(const Arguments& arguments, std::int64_t first, std::int64_t group) : a(arguments) {
      FASTCONV_UNROLL
      for (int i = 0; i < Tile::kColumnFetches; ++i) {
        const std::int64_t column = first + Image::line(i);
        inside[i] = column < a.columns;
        const FilterColumn c = filter_column<kChannelsAdjacent>(a, inside[i] ? column : 0);
        channel[i] = group * a.channels + c.channel;
        tap[i] = tap_at(a.gather, c.tap);
      }
    }
    FASTCONV_DEVICE void fetch(std::int64_t k, std::int64_t end, T (&values)[Tile::kColumnFetches]) const {
      FASTCONV_UNROLL
      for (int i = 0; i < Tile::kColumnFetches; ++i) {
        const std::int64_t pixel = k + Image::depth(i);
        values[i] = 0;
        if (pixel >= end || !inside[i]) continue;
        std::int64_t at;
        if (find_source(a.gather, pixel_at(a.gather, pixel), tap[i], &at)) {
          values[i] = load<T>(a.gather.source.dtype, a.gather.source.data,
                              at + channel[i] * a.gather.source.channel_stride);
        }
      }
    }
  };

  FASTCONV_DEVICE static void run(const Arguments& a) {
    if (!is_turn(a.turn, 0)) return;
    const auto [column_tile, row_tile, part, group] = filter_block(a);
    const std::int64_t begin = part * a.pixels_of_part, limit = begin + a.pixels_of_part;

    Filters filters(a, row_tile * kTileRows, group);
    Image image(a, column_tile * kColumns, group);
    Tile tile;
    tile.run(&filters, &image, begin, limit < a.gather.pixels ? limit : a.gather.pixels);

    FASTCONV_UNROLL
    for (int i = 0; i < kThreadRows; ++i) {
      FASTCONV_UNROLL
      for (int j = 0; j < Tile::kThreadColumns; ++j) {
        const std::int64_t line = row_tile * kTileRows + Tile::row(i), filter = group * a.filters + line;
        const std::int64_t column = column_tile * kColumns + Tile::column(j);
        if (line >= a.filters || column >= a.columns) continue;
        if (a.parts == 1) {
          store_filter<T, kChannelsAdjacent>(a, filter, column, tile.total[i][j]);
        } else {
          static_cast<T*>(a.partial_sums)[(part * a.groups * a.filters + filter) * a.columns + column] =
              tile.total[i][j];
        }
      }
    }
  }
};

// Few filters in a group: a block sums kDirectColumns columns of one filter, each thread its own pixels.
constexpr int kDirectColumns = 8;

template <class T, bool kChannelsAdjacent>
struct DirectFilterKernel {
  using Arguments = FilterProductArguments;  // a row tile is one filter, a column tile kDirectColumns columns
  static constexpr int kThreads = 256;
  static constexpr std::int64_t kSharedBytes = kThreads / kWarp * kDirectColumns * sizeof(T);

  FASTCONV_DEVICE static void run(const Arguments& a) {
    const auto [column_tile, line, part, group] = filter_block(a);
    const std::int64_t first_column = column_tile * kDirectColumns, filter = group * a.filters + line;
    const std::int64_t begin = part * a.pixels_of_part, limit = begin + a.pixels_of_part;
    const std::int64_t end = limit < a.gather.pixels ? limit : a.gather.pixels;

    T sum[kDirectColumns];
    Tap tap[kDirectColumns];
    std::int64_t channel[kDirectColumns];
    FASTCONV_UNROLL
    for (int i = 0; i < kDirectColumns; ++i) {
      const std::int64_t column = first_column + i < a.columns ? first_column + i : first_column;
      const FilterColumn c = filter_column<kChannelsAdjacent>(a, column);
      channel[i] = group * a.channels + c.channel;
      tap[i] = tap_at(a.gather, c.tap);
      sum[i] = 0;
    }
    for (std::int64_t number = begin + thread_index(); number < end; number += kThreads) {
      const Pixel pixel = pixel_at(a.gather, number);
      const T upstream =
          load<T>(a.dy_dtype, a.dy, result_offset(a.gather, pixel) + filter * a.gather.result.channel_stride);
      FASTCONV_UNROLL
      for (int i = 0; i < kDirectColumns; ++i) {
        std::int64_t at;
        const bool inside = find_source(a.gather, pixel, tap[i], &at);
        const T value = inside ? load<T>(a.gather.source.dtype, a.gather.source.data,
                                         at + channel[i] * a.gather.source.channel_stride)
                               : T(0);
        sum[i] = fma(upstream, value, sum[i]);
      }
    }
    auto* const shared = static_cast<T*>(shared_memory());
    FASTCONV_UNROLL
    for (int i = 0; i < kDirectColumns; ++i) {
      for (int lane = kWarp / 2; lane > 0; lane /= 2) sum[i] += shuffle_xor(sum[i], lane);
      if (thread_index() % kWarp == 0) shared[thread_index() / kWarp * kDirectColumns + i] = sum[i];
    }
    barrier();
    const std::int64_t column = first_column + thread_index();
    if (thread_index() >= kDirectColumns || column >= a.columns) return;
    T all = 0;
    for (int warp = 0; warp < kThreads / kWarp; ++warp) all += shared[warp * kDirectColumns + thread_index()];
    if (a.parts == 1) {
      store_filter<T, kChannelsAdjacent>(a, filter, column, all);
    } else {
      static_cast<T*>(a.partial_sums)[(part * a.groups * a.filters + filter) * a.columns + column] = all;
    }
  }
};

template <class T, bool kChannelsAdjacent>
struct FilterPartsKernel {
  using Arguments = FilterProductArguments;
  static constexpr int kThreads = kSpanThreads;

  FASTCONV_DEVICE static void run(const Arguments& a) {
    if (!is_turn(a.turn, 0)) return;
    const std::int64_t count = a.groups * a.filters * a.columns;
    for_each_of_span(count, [&](std::int64_t i) {
      const T sum = sum_of_parts<T>(a.partial_sums, a.parts, count, i);
      store_filter<T, kChannelsAdjacent>(a, i / a.columns, i % a.columns, sum);
    });
  }
};

}  // namespace fastconv::cuda
