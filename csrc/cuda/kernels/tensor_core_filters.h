// Gradients of filters on tensor cores: the packed upstream gradient's channels times packed pixels gathered
// from the image, summed over pixels. Parts of the pixels may go to blocks of their own.
#pragma once

#include "cuda/kernels/tensor_core_tile.h"

namespace fastconv::cuda {

// Two pixels that a thread gathers one after the other: the digits by which their numbers differ, and
// elements of the image from one to the other, more where a digit carries over to the axis before.
struct PixelsApart {
  int position[kAxes];
  std::int64_t elements, carried[kAxes];
};
inline PixelsApart pixels_apart(const Gather& g, int count) {
  PixelsApart apart{};
  std::int64_t rest = count;
  for (int a = kAxes - 1; a >= 0; --a) {
    const std::int64_t positions = g.axis[a].positions.value, step = g.axis[a].step * g.source.stride[a];
    apart.position[a] = static_cast<int>(rest % positions);
    rest /= positions;
    apart.elements += apart.position[a] * step;
    const std::int64_t before = a > 0 ? g.axis[a - 1].step * g.source.stride[a - 1] : g.source.batch_stride;
    apart.carried[a] = before - positions * step;
  }
  apart.elements += rest * g.source.batch_stride;
  return apart;
}

struct TensorCoreFiltersArguments {
  Gather gather;  // of the packed image
  const std::uint16_t *image, *dy;
  std::int64_t image_part, dy_part;  // elements from part to part
  std::int64_t groups, filters;      // of a group
  std::int64_t dy_filters;           // of a group, packed
  ChannelPacking packing;            // of the image
  std::int64_t columns;              // taps and packed channels
  std::int64_t row_tiles, column_tiles;
  std::int64_t parts, pixels_of_part;
  PixelsApart pixels_apart;
  float* partial_sums;  // [part][group, filter][column], where there are several
  Dtype dtype;
  void* dw;           // [group, filter][channel][tap]
  std::int64_t taps;  // of the filters
  Turn turn;
};

// A sum's element, if it has one: packed channels may be none.
FASTCONV_DEVICE void store_packed_filter(const TensorCoreFiltersArguments& a, std::int64_t filter,
                                         std::int64_t column, float sum) {
  const std::int64_t tap = column / a.packing.packed;
  const Quotient channel = divide(column - tap * a.packing.packed, a.packing.by_channels);
  if (channel.quotient >= a.packing.taps) return;
  store<float>(
      a.dtype, a.dw,
      (filter * a.packing.channels + channel.remainder) * a.taps + tap * a.packing.taps + channel.quotient,
      sum);
}

// What a block of filters and columns computes.
struct FilterTile {
  std::int64_t first_filter, first_column, group, part, first_pixel, end_pixel;
};

template <int kRows, int kColumns>
FASTCONV_DEVICE FilterTile filter_tile(const TensorCoreFiltersArguments& a) {
  FilterTile t;
  std::int64_t b = block_index();
  t.first_column = b % a.column_tiles * kColumns;
  b /= a.column_tiles;
  t.first_filter = b % a.row_tiles * kRows;
  b /= a.row_tiles;
  t.part = b % a.parts;
  t.group = b / a.parts;
  t.first_pixel = t.part * a.pixels_of_part;
  t.end_pixel = t.first_pixel + a.pixels_of_part;
  if (t.end_pixel > a.gather.pixels) t.end_pixel = a.gather.pixels;
  return t;
}

// Writes a tile's sums, which lie in shared memory: row r's from sums + r * pitch on. column_of(c) is a
// tile's column c among all, or beyond them.
template <int kRows, int kColumns, int kThreads, class ColumnOf>
FASTCONV_DEVICE void store_filter_tile(const TensorCoreFiltersArguments& a, const FilterTile& t,
                                       const float* sums, int pitch, int thread, const ColumnOf& column_of) {
  for (int n = thread; n < kRows * kColumns; n += kThreads) {
    const int row = n / kColumns;
    const std::int64_t filter = t.first_filter + row, column = column_of(n % kColumns);
    if (filter >= a.filters || column >= a.columns) continue;
    const float sum = sums[row * pitch + n % kColumns];
    const std::int64_t line = t.group * a.filters + filter;
    if (a.parts == 1) {
      store_packed_filter(a, line, column, sum);
    } else {
      a.partial_sums[(t.part * a.groups * a.filters + line) * a.columns + column] = sum;
    }
  }
}

template <class T, int kColumns, int kParts>
struct TensorCoreFiltersKernel {
  using Arguments = TensorCoreFiltersArguments;
  using Tile = TensorCoreTile<T, kColumns, kParts, false>;
  static constexpr int kDepth = kTensorDepth;
  static constexpr int kThreads = kTensorThreads, kResidentBlocks = kParts == 1 ? 2 : 1;
  static constexpr std::int64_t kSharedBytes = Tile::kSharedBytes;

  struct Gradient {
    const Arguments& a;
    const std::uint16_t* dy;  // the next pixel's

    FASTCONV_DEVICE Gradient(const Arguments& arguments, const FilterTile& t) : a(arguments) {
      std::int64_t filter = t.first_filter + Tile::Rows::piece() * kPackedChannels;
      if (filter >= a.dy_filters) filter = 0;  // any will do: nobody stores those sums
      dy = a.dy + ((t.first_pixel + Tile::Rows::row(0)) * a.groups + t.group) * a.dy_filters + filter;
    }
    FASTCONV_DEVICE void copy(unsigned char* to, int left) {
      FASTCONV_UNROLL
      for (int i = 0; i < Tile::Rows::kPieces; ++i) {
        unsigned char* const piece = to + Tile::Rows::offset(Tile::Rows::row(i), Tile::Rows::piece());
        FASTCONV_UNROLL
        for (int part = 0; part < kParts; ++part)
          copy_async<16>(piece + part * Tile::Rows::kBytes, dy + part * a.dy_part,
                         Tile::Rows::row(i) < left ? 16 : 0);
        dy += kRowsApart * a.groups * a.dy_filters;
      }
    }
    static constexpr int kRowsApart = kTensorDepth / Tile::Rows::kPieces;
  };

  struct Image {
    const Arguments& a;
    int position[kAxes];
    int place[kAxes];             // of the tap
    const std::uint16_t* source;  // the thread's next pixel's, through the tap

    FASTCONV_DEVICE Image(const Arguments& arguments, const FilterTile& t) : a(arguments) {
      std::int64_t column = t.first_column + Tile::Columns::piece() * kPackedChannels;
      if (column >= a.columns) column = 0;  // any will do: nobody stores those sums
      const std::int64_t number = column / a.packing.packed;
      const Tap tap = tap_at(a.gather, number);
      const std::int64_t pixel = t.first_pixel + Tile::Columns::row(0);
      const Pixel p = pixel_at(a.gather, pixel < a.gather.pixels ? pixel : 0);
      source = a.image + p.image * a.gather.source.batch_stride + t.group * a.packing.packed + column -
               number * a.packing.packed;
      FASTCONV_UNROLL
      for (int axis = 0; axis < kAxes; ++axis) {
        position[axis] = static_cast<int>(p.position[axis]);
        place[axis] = static_cast<int>(tap.offset[axis]);
        source +=
            (p.position[axis] * a.gather.axis[axis].step + tap.offset[axis]) * a.gather.source.stride[axis];
      }
    }
    FASTCONV_DEVICE void copy(unsigned char* to, int left) {
      FASTCONV_UNROLL
      for (int i = 0; i < Tile::Columns::kPieces; ++i) {
        bool inside = Tile::Columns::row(i) < left;
        FASTCONV_UNROLL
        for (int axis = 0; axis < kAxes; ++axis) {
          const int along = position[axis] * static_cast<int>(a.gather.axis[axis].step) + place[axis];
          inside = inside && along >= 0 && along < static_cast<int>(a.gather.axis[axis].size);
        }
        unsigned char* const piece =
            to + Tile::Columns::offset(Tile::Columns::row(i), Tile::Columns::piece());
        FASTCONV_UNROLL
        for (int part = 0; part < kParts; ++part)
          copy_async<16>(piece + part * Tile::Columns::kBytes, source + part * a.image_part, inside ? 16 : 0);
        advance();
      }
    }
    FASTCONV_DEVICE void advance() {
      source += a.pixels_apart.elements;
      int carry = 0;
      FASTCONV_UNROLL
      for (int axis = kAxes - 1; axis >= 0; --axis) {
        const int all = static_cast<int>(a.gather.axis[axis].positions.value);
        position[axis] += a.pixels_apart.position[axis] + carry;
        carry = position[axis] >= all;
        if (carry) {
          position[axis] -= all;
          source += a.pixels_apart.carried[axis];
        }
      }
    }
  };

  FASTCONV_DEVICE static void run(const Arguments& a) {
    if (!is_turn(a.turn, 0)) return;
    const FilterTile t = filter_tile<kTensorRows, kColumns>(a);
    Gradient gradient(a, t);
    Image image(a, t);
    Tile tile;
    tile.run(&gradient, &image, static_cast<int>(t.end_pixel - t.first_pixel));
    store_filter_tile<kTensorRows, kColumns, kThreads>(a, t, tile.result(), Tile::kResultPitch,
                                                       thread_index(),
                                                       [&](int column) { return t.first_column + column; });
  }
};

// Adds the parts up, in their order.
struct TensorCoreFilterPartsKernel {
  using Arguments = TensorCoreFiltersArguments;
  static constexpr int kThreads = kSpanThreads;

  FASTCONV_DEVICE static void run(const Arguments& a) {
    if (!is_turn(a.turn, 0)) return;
    const std::int64_t count = a.groups * a.filters * a.columns;
    for_each_of_span(count, [&](std::int64_t i) {
      const float sum = sum_of_parts<float>(a.partial_sums, a.parts, count, i);
      store_packed_filter(a, i / a.columns, i % a.columns, sum);
    });
  }
};

}  // namespace fastconv::cuda
