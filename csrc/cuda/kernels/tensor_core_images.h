// Results and input gradients on tensor cores: packed pixels gathered from an image, times packed filters.
#pragma once

#include "cuda/kernels/image_product.h"
#include "cuda/kernels/tensor_core_tile.h"

namespace fastconv::cuda {

// The reduction is one over pieces of kPackedChannels terms, tap by tap: (tap, piece of its channels).
struct TensorCoreImagesArguments {
  Gather gather;  // of the packed image
  const std::uint16_t *image, *filters;
  std::int64_t image_part, filter_part;  // elements from part to part
  std::int64_t groups, lines;            // of a group
  std::int64_t channels;                 // of a group, packed
  std::int64_t pieces;                   // of the reduction
  std::int64_t row_tiles, column_tiles;
  // More than one: partial sums [part][channel of the result][pixel] instead of the result.
  std::int64_t parts, pieces_of_part;
  float* partial_sums;
  ResultStore store;
  Turn turn;
};

// What a block of rows of pixels and lines of filters computes.
struct ImageTile {
  std::int64_t first_row, first_line, group, part, first_piece, end_piece;
};

template <int kRows, int kColumns, class Arguments>
FASTCONV_DEVICE ImageTile image_tile(const Arguments& a) {
  // Blocks that share pixels are neighbours.
  ImageTile t;
  std::int64_t b = block_index();
  t.first_line = b % a.column_tiles * kColumns;
  b /= a.column_tiles;
  t.part = b % a.parts;
  b /= a.parts;
  t.first_row = b % a.row_tiles * kRows;
  t.group = b / a.row_tiles;
  t.first_piece = t.part * a.pieces_of_part;
  t.end_piece = t.first_piece + a.pieces_of_part;
  if (t.end_piece > a.pieces) t.end_piece = a.pieces;
  return t;
}

constexpr std::int64_t kNotWritten = -0x7fffffffffffffff;  // no offset of a result is that

// Where the pixels of a tile's rows begin in the result. Of kThreads threads, `thread` is one.
template <int kRows, int kThreads, class Arguments>
FASTCONV_DEVICE void find_result_rows(const Arguments& a, const ImageTile& t, std::int64_t* offsets,
                                      int thread) {
  for (int row = thread; row < kRows; row += kThreads) {
    const std::int64_t number = t.first_row + row;
    offsets[row] = kNotWritten;
    if (number >= a.gather.pixels) continue;
    const Pixel pixel = pixel_at(a.gather, number);
    if (is_turn(a.turn, pixel.image)) offsets[row] = result_offset(a.gather, pixel);
  }
}

// Writes a tile's sums, which lie in shared memory: row r's from sums + r * pitch on.
template <int kRows, int kColumns, int kThreads, class Arguments>
FASTCONV_DEVICE void store_image_tile(const Arguments& a, const ImageTile& t, const float* sums, int pitch,
                                      const std::int64_t* offsets, int thread) {
  const std::int64_t first_channel = t.group * a.lines + t.first_line;
  const bool along_columns = a.store.result.channel_stride == 1 && a.parts == 1;
  for (int n = thread; n < kRows * kColumns; n += kThreads) {
    const int row = along_columns ? n / kColumns : n % kRows;
    const int column = along_columns ? n % kColumns : n / kRows;
    const std::int64_t number = t.first_row + row, channel = first_channel + column;
    if (offsets[row] == kNotWritten || t.first_line + column >= a.lines) continue;
    const float sum = sums[row * pitch + column];
    if (a.parts == 1) {
      store_result<float>(a.store, offsets[row], channel, sum);
    } else {
      a.partial_sums[(t.part * a.groups * a.lines + channel) * a.gather.pixels + number] = sum;
    }
  }
}

template <class T, int kTileColumns, int kParts>
struct TensorCoreImagesKernel {
  static constexpr int kColumns = kTileColumns, kPiece = kPackedChannels, kDepth = kTensorDepth;
  using Arguments = TensorCoreImagesArguments;
  using Tile = TensorCoreTile<T, kColumns, kParts, true>;
  static constexpr int kThreads = kTensorThreads, kResidentBlocks = kParts == 1 ? 2 : 1;
  static constexpr std::int64_t kOffsetsEnd = Tile::kResultBytes + kTensorRows * sizeof(std::int64_t);
  static constexpr std::int64_t kSharedBytes =
      Tile::kSharedBytes > kOffsetsEnd ? Tile::kSharedBytes : kOffsetsEnd;

  // The thread's piece of the reduction, which goes on by the pieces of a step; its taps are counted axis by
  // axis. Everything here is small enough for 32 bits, which leaves registers to the sums.
  struct Position {
    int piece, tap[kAxes];

    FASTCONV_DEVICE Position(const Arguments& a, int number) {
      const int of_tap = static_cast<int>(a.channels) / kPackedChannels;
      piece = number % of_tap;
      std::int64_t rest = number / of_tap;
      FASTCONV_UNROLL
      for (int axis = kAxes - 1; axis >= 0; --axis) {
        const Quotient q = divide(rest, a.gather.axis[axis].taps);
        tap[axis] = static_cast<int>(q.remainder);
        rest = q.quotient;
      }
    }
    FASTCONV_DEVICE void advance(const Arguments& a) {
      piece += kTensorDepth / kPackedChannels;
      const int of_tap = static_cast<int>(a.channels) / kPackedChannels;
      while (piece >= of_tap) {
        piece -= of_tap;
        if (++tap[2] < static_cast<int>(a.gather.axis[2].taps.value)) continue;
        tap[2] = 0;
        if (++tap[1] < static_cast<int>(a.gather.axis[1].taps.value)) continue;
        tap[1] = 0;
        ++tap[0];
      }
    }
  };

  struct Pixels {
    const Arguments& a;
    Position at;
    const std::uint16_t* pixel[Tile::Rows::kPieces];  // its group's first channel, through a tap of offset 0
    int place[Tile::Rows::kPieces][kAxes];            // so in the image

    FASTCONV_DEVICE Pixels(const Arguments& arguments, const ImageTile& t)
        : a(arguments), at(arguments, static_cast<int>(t.first_piece) + Tile::Rows::piece()) {
      FASTCONV_UNROLL
      for (int i = 0; i < Tile::Rows::kPieces; ++i) {
        const std::int64_t number = t.first_row + Tile::Rows::row(i);
        // Where there is none any will do: nobody stores its sums.
        const Pixel p = pixel_at(a.gather, number < a.gather.pixels ? number : 0);
        pixel[i] = a.image + p.image * a.gather.source.batch_stride + t.group * a.channels;
        FASTCONV_UNROLL
        for (int axis = 0; axis < kAxes; ++axis) {
          const GatherAxis& along = a.gather.axis[axis];
          place[i][axis] = static_cast<int>(p.position[axis] * along.step + along.offset);
          pixel[i] += place[i][axis] * a.gather.source.stride[axis];
        }
      }
    }
    FASTCONV_DEVICE void copy(unsigned char* to, int left) {
      int shift[kAxes];
      std::int64_t from = at.piece * kPackedChannels;
      FASTCONV_UNROLL
      for (int axis = 0; axis < kAxes; ++axis) {
        shift[axis] = static_cast<int>(a.gather.axis[axis].tap_step) * at.tap[axis];
        from += shift[axis] * a.gather.source.stride[axis];
      }
      FASTCONV_UNROLL
      for (int i = 0; i < Tile::Rows::kPieces; ++i) {
        bool inside = Tile::Rows::piece() * kPackedChannels < left;
        FASTCONV_UNROLL
        for (int axis = 0; axis < kAxes; ++axis) {
          const int along = place[i][axis] + shift[axis];
          inside = inside && along >= 0 && along < static_cast<int>(a.gather.axis[axis].size);
        }
        unsigned char* const piece = to + Tile::Rows::offset(Tile::Rows::row(i), Tile::Rows::piece());
        FASTCONV_UNROLL
        for (int part = 0; part < kParts; ++part)
          copy_async<16>(piece + part * Tile::Rows::kBytes, pixel[i] + from + part * a.image_part,
                         inside ? 16 : 0);
      }
      at.advance(a);
    }
  };

  // Lines beyond the last are some memory's (kLinesBeyond): nobody stores their sums.
  struct Filters {
    const Arguments& a;
    const std::uint16_t* filter;  // the thread's first line's next piece

    FASTCONV_DEVICE Filters(const Arguments& arguments, const ImageTile& t)
        : a(arguments),
          filter(a.filters + ((t.group * a.lines + t.first_line + Tile::Columns::row(0)) * a.pieces +
                              t.first_piece + Tile::Columns::piece()) *
                                 kPackedChannels) {}
    FASTCONV_DEVICE void copy(unsigned char* to, int left) {
      constexpr int kLinesApart = kColumns / Tile::Columns::kPieces;
      const int valid = Tile::Columns::piece() * kPackedChannels < left ? 16 : 0;
      FASTCONV_UNROLL
      for (int i = 0; i < Tile::Columns::kPieces; ++i) {
        const std::uint16_t* const source = filter + i * kLinesApart * a.pieces * kPackedChannels;
        unsigned char* const piece =
            to + Tile::Columns::offset(Tile::Columns::row(i), Tile::Columns::piece());
        FASTCONV_UNROLL
        for (int part = 0; part < kParts; ++part)
          copy_async<16>(piece + part * Tile::Columns::kBytes, source + part * a.filter_part, valid);
      }
      filter += kTensorDepth;
    }
  };

  FASTCONV_DEVICE static void run(const Arguments& a) {
    const ImageTile t = image_tile<kTensorRows, kColumns>(a);
    if (!has_turn<kTensorRows>(a, t.first_row)) return;
    Pixels pixels(a, t);
    Filters filters(a, t);
    Tile tile;
    tile.run(&pixels, &filters, static_cast<int>(t.end_piece - t.first_piece) * kPackedChannels);
    auto* const offsets =
        reinterpret_cast<std::int64_t*>(static_cast<char*>(shared_memory()) + Tile::kResultBytes);
    find_result_rows<kTensorRows, kThreads>(a, t, offsets, thread_index());
    store_image_tile<kTensorRows, kColumns, kThreads>(a, t, tile.result(), Tile::kResultPitch, offsets,
                                                      thread_index());
  }
};

}  // namespace fastconv::cuda
