// Results and input gradients: pixels gathered from an image, times filters.
#pragma once

#include "core/product_kind.h"
#include "cuda/kernels/activations.h"
#include "cuda/kernels/packing.h"
#include "cuda/kernels/product_tile.h"

namespace fastconv::cuda {

// A result's channels and how its sums become elements.
struct ResultStore {
  ImageView result;
  Epilogue epilogue;
  Dtype bias_dtype;
};

// `at` is the pixel's first channel.
template <class T>
FASTCONV_DEVICE void store_result(const ResultStore& s, std::int64_t at, std::int64_t channel, T sum) {
  if (s.epilogue.bias) sum += load<T>(s.bias_dtype, s.epilogue.bias, channel * s.epilogue.bias_stride);
  store<T>(s.result.dtype, s.result.data, at + channel * s.result.channel_stride,
           activate(s.epilogue.activation, sum));
}

struct ImageProductArguments {
  Gather gather;
  FilterLines filters;
  ResultStore store;
  std::int64_t groups, lines, channels;  // of a group: filters, and what is summed over
  std::int64_t row_tiles, column_tiles;
  Divisor inner;  // terms of the reduction: (channel, tap) by taps, or (tap, channel) by channels
  std::int64_t reduction;
  // More than one: partial sums [part][channel of the result][pixel] instead of the result.
  std::int64_t parts, reduction_of_part;
  void* partial_sums;
  Turn turn;
};

// Whether any of a tile's pixels is of an image that has its turn. By all threads of a block, of which there
// are as many as rows at least.
template <int kRows, class Arguments>
FASTCONV_DEVICE bool has_turn(const Arguments& a, std::int64_t first_row) {
  if (!a.turn.largest.images) return true;
  const std::int64_t number = first_row + thread_index() % kRows;
  return any_in_block(number < a.gather.pixels && is_turn(a.turn, pixel_at(a.gather, number).image));
}

// kChannelsAdjacent: the source's channels are neighbours in memory, else its pixels are.
template <class T, int kColumns, bool kChannelsAdjacent>
struct ImageProductKernel {
  using Arguments = ImageProductArguments;
  using Tile = ProductTile<T, kColumns>;
  static constexpr int kThreads = kTileThreads;

  // A term of the reduction.
  FASTCONV_DEVICE static void find_term(const Arguments& a, std::int64_t k, std::int64_t* channel, Tap* tap) {
    const Quotient q = divide(k, a.inner);
    *channel = kChannelsAdjacent ? q.remainder : q.quotient;
    *tap = tap_at(a.gather, kChannelsAdjacent ? q.quotient : q.remainder);
  }

  struct Pixels : FetchOrder<kTileRows, Tile::kRowPitch, !kChannelsAdjacent> {
    const Arguments& a;
    std::int64_t first_channel;
    // A thread's pixels: all of one line, or one for each fetch.
    static constexpr int kPixels = kChannelsAdjacent ? Tile::kRowFetches : 1;
    Pixel pixel[kPixels];
    bool inside[kPixels];

    FASTCONV_DEVICE Pixels(const Arguments& arguments, std::int64_t first_row, std::int64_t group)
        : a(arguments), first_channel(group * arguments.channels) {
      FASTCONV_UNROLL
      for (int i = 0; i < kPixels; ++i) {
        const std::int64_t number = first_row + Pixels::line(i);
        inside[i] = number < a.gather.pixels;
        pixel[i] = pixel_at(a.gather, inside[i] ? number : 0);
      }
    }
    FASTCONV_DEVICE void fetch(std::int64_t k, std::int64_t end, T (&values)[Tile::kRowFetches]) const {
      FASTCONV_UNROLL
      for (int i = 0; i < Tile::kRowFetches; ++i) {
        const int of = kChannelsAdjacent ? i : 0;
        const std::int64_t term = k + Pixels::depth(i);
        values[i] = 0;
        if (term >= end || !inside[of]) continue;
        std::int64_t channel, at;
        Tap tap;
        find_term(a, term, &channel, &tap);
        if (find_source(a.gather, pixel[of], tap, &at)) {
          values[i] = load<T>(a.gather.source.dtype, a.gather.source.data,
                              at + (first_channel + channel) * a.gather.source.channel_stride);
        }
      }
    }
  };

  struct Filters : FetchOrder<kColumns, Tile::kColumnPitch, false> {
    const Arguments& a;
    std::int64_t first_line, group;

    FASTCONV_DEVICE Filters(const Arguments& arguments, std::int64_t first, std::int64_t of)
        : a(arguments), first_line(first), group(of) {}
    FASTCONV_DEVICE void fetch(std::int64_t k, std::int64_t end, T (&values)[Tile::kColumnFetches]) const {
      FASTCONV_UNROLL
      for (int i = 0; i < Tile::kColumnFetches; ++i) {
        const std::int64_t term = k + Filters::depth(i), line = first_line + Filters::line(i);
        values[i] = 0;
        if (term >= end || line >= a.lines) continue;
        std::int64_t channel;
        Tap tap;
        find_term(a, term, &channel, &tap);
        values[i] = load<T>(a.filters.dtype, a.filters.data,
                            group * a.filters.group_step + line * a.filters.line_step +
                                channel * a.filters.channel_step + tap.kernel_tap);
      }
    }
  };

  FASTCONV_DEVICE static void run(const Arguments& a) {
    // Blocks that share pixels are neighbours.
    std::int64_t b = block_index();
    const std::int64_t column_tile = b % a.column_tiles;
    b /= a.column_tiles;
    const std::int64_t part = b % a.parts;
    b /= a.parts;
    const std::int64_t row_tile = b % a.row_tiles, group = b / a.row_tiles;
    const std::int64_t first_row = row_tile * kTileRows, first_line = column_tile * kColumns;
    const std::int64_t begin = part * a.reduction_of_part, limit = begin + a.reduction_of_part;

    if (!has_turn<kTileRows>(a, first_row)) return;
    Pixels pixels(a, first_row, group);
    Filters filters(a, first_line, group);
    Tile tile;
    tile.run(&pixels, &filters, begin, limit < a.reduction ? limit : a.reduction);

    FASTCONV_UNROLL
    for (int i = 0; i < kThreadRows; ++i) {
      const std::int64_t number = first_row + Tile::row(i);
      if (number >= a.gather.pixels) continue;
      const Pixel pixel = pixel_at(a.gather, number);
      if (!is_turn(a.turn, pixel.image)) continue;
      const std::int64_t at = result_offset(a.gather, pixel);
      FASTCONV_UNROLL
      for (int j = 0; j < Tile::kThreadColumns; ++j) {
        const std::int64_t line = first_line + Tile::column(j), channel = group * a.lines + line;
        if (line >= a.lines) continue;
        if (a.parts == 1) {
          store_result<T>(a.store, at, channel, tile.total[i][j]);
        } else {
          static_cast<T*>(a.partial_sums)[(part * a.groups * a.lines + channel) * a.gather.pixels + number] =
              tile.total[i][j];
        }
      }
    }
  }
};

// Adds the parts up, in their order.
template <class T, class Product>
struct ImagePartsKernel {
  using Arguments = Product;
  static constexpr int kThreads = kSpanThreads;

  FASTCONV_DEVICE static void run(const Arguments& a) {
    const std::int64_t count = a.groups * a.lines * a.gather.pixels;
    for_each_of_span(count, [&](std::int64_t i) {
      const Pixel pixel = pixel_at(a.gather, i % a.gather.pixels);
      if (!is_turn(a.turn, pixel.image)) return;
      const T sum = sum_of_parts<T>(a.partial_sums, a.parts, count, i);
      store_result<T>(a.store, result_offset(a.gather, pixel), i / a.gather.pixels, sum);
    });
  }
};

}  // namespace fastconv::cuda
