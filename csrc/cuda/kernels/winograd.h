// Winograd's minimal filtering F(2x2, 3x3) around a product on tensor cores: 2 x 2 results come from 4 x 4
// elements and 16 products instead of 36 (Lavin and Gray, "Fast algorithms for convolutional neural
// networks", CVPR 2016). With an image's patches d, filters g and
//
//   V = B^T d B     U = G g G^T     Y = A^T [sum over channels of U o V] A
//
// the sums are 16 products of matrices: those of a 1x1 convolution over tiles with 16 groups, which take
// packed operands (packing.h) and leave their sums in float32.
#pragma once

#include "cuda/kernels/image_product.h"

namespace fastconv::cuda {

constexpr int kPatch = 4, kPoints = kPatch * kPatch, kTileSide = 2;

// What patches are gathered from, and the tiles that they make: rows and columns of an image's tiles.
struct WinogradTiles {
  Gather gather;  // of 3 x 3 taps at step 1
  Divisor rows, columns;
  std::int64_t all;  // of all images
};

struct WinogradTile {
  std::int64_t image, row, column;  // of the result's first element
};
FASTCONV_DEVICE WinogradTile winograd_tile(const WinogradTiles& t, std::int64_t number) {
  const Quotient column = divide(number, t.columns), row = divide(column.quotient, t.rows);
  return {row.quotient, row.remainder * kTileSide, column.remainder * kTileSide};
}

// B^T along one axis: four values that are `step` apart.
FASTCONV_DEVICE void to_points(float* v, int step) {
  const float d[kPatch] = {v[0], v[step], v[2 * step], v[3 * step]};
  v[0] = d[0] - d[2];
  v[step] = d[1] + d[2];
  v[2 * step] = d[2] - d[1];
  v[3 * step] = d[1] - d[3];
}

// A block transforms the patches of kTiles tiles of an image in kPackedChannels channels.
struct WinogradImageKernel {
  struct Arguments {
    WinogradTiles tiles;
    bool channels_adjacent;
    std::int64_t channels, packed_channels;
    std::int64_t tile_blocks;  // of an image
    Split split;
    std::uint16_t* to;  // [part][tile][point][channel]
    std::int32_t* largest;
  };
  static constexpr int kThreads = 256, kTiles = kThreads / kPackedChannels;
  static constexpr int kPitch = kPackedChannels + 1;
  static constexpr std::int64_t kSharedBytes = kPoints * kTiles * kPitch * sizeof(float);

  FASTCONV_DEVICE static void load_patch(const Arguments& a, std::int64_t number, std::int64_t channel,
                                         float (&patch)[kPoints]) {
    const Gather& g = a.tiles.gather;
    const WinogradTile tile = winograd_tile(a.tiles, number);
    const auto at = [&](int axis, std::int64_t position) {  // in the order of places, whatever that of taps
      const GatherAxis& along = g.axis[axis];
      const std::int64_t first = along.offset + (along.tap_step < 0 ? 2 * along.tap_step : 0);
      return source_element(g.mode, position + first, along.size);
    };
    const std::int64_t plane = tile.image * g.source.batch_stride + channel * g.source.channel_stride;
    FASTCONV_UNROLL
    for (int i = 0; i < kPatch; ++i) {
      // Beyond the last result a patch holds what padding never asks for.
      const std::int64_t row = tile.row + i < g.axis[1].positions.value + 2 ? at(1, tile.row + i) : -1;
      FASTCONV_UNROLL
      for (int j = 0; j < kPatch; ++j) {
        const std::int64_t column =
            tile.column + j < g.axis[2].positions.value + 2 ? at(2, tile.column + j) : -1;
        patch[kPatch * i + j] =
            row < 0 || column < 0
                ? 0.0f
                : load<float>(g.source.dtype, g.source.data,
                              plane + row * g.source.stride[1] + column * g.source.stride[2]);
      }
    }
  }

  FASTCONV_DEVICE static void run(const Arguments& a) {
    auto* const points = static_cast<float*>(shared_memory());
    const std::int64_t of_image = a.tiles.rows.value * a.tiles.columns.value;
    std::int64_t b = block_index();
    const std::int64_t first_channel = b % (a.packed_channels / kPackedChannels) * kPackedChannels;
    b /= a.packed_channels / kPackedChannels;
    const std::int64_t first_tile = b % a.tile_blocks * kTiles, image = b / a.tile_blocks;

    const int n = thread_index();
    const int tile = a.channels_adjacent ? n / kPackedChannels : n % kTiles;
    const int channel = a.channels_adjacent ? n % kPackedChannels : n / kTiles;
    float patch[kPoints] = {};
    if (first_tile + tile < of_image && first_channel + channel < a.channels)
      load_patch(a, image * of_image + first_tile + tile, first_channel + channel, patch);
    FASTCONV_UNROLL
    for (int i = 0; i < kPatch; ++i) to_points(patch + kPatch * i, 1);
    FASTCONV_UNROLL
    for (int i = 0; i < kPatch; ++i) to_points(patch + i, kPatch);
    std::int32_t largest = 0;
    FASTCONV_UNROLL
    for (int i = 0; i < kPoints; ++i) {
      const std::int32_t magnitude = bits_of(patch[i]) & 0x7fffffff;
      largest = largest < magnitude ? magnitude : largest;
      points[(i * kTiles + tile) * kPitch + channel] = patch[i];
    }
    barrier();
    if (a.largest) note_largest(a.largest + image, largest);
    for (int piece = n; piece < kPoints * kTiles; piece += kThreads) {
      const int point = piece % kPoints, of = piece / kPoints;
      if (first_tile + of >= of_image) continue;
      const std::int64_t at =
          ((image * of_image + first_tile + of) * kPoints + point) * a.packed_channels + first_channel;
      store_parts(a.split, points + (point * kTiles + of) * kPitch, a.to + at);
    }
  }
};

// A thread transforms the filter of a line and a packed channel.
struct WinogradFiltersKernel {
  struct Arguments {
    Gather gather;
    FilterLines from;
    std::int64_t lines, channels, packed_channels;
    Split split;
    std::uint16_t* to;  // [part][point][line][channel]
    std::int32_t* largest;
  };
  static constexpr int kThreads = kSpanThreads;

  // G along one axis: from three values, `from_step` apart, to four.
  FASTCONV_DEVICE static void to_points(const float* g, int from_step, float* v, int step) {
    const float outer = g[0] + g[2 * from_step], middle = g[from_step];
    v[0] = g[0];
    v[step] = 0.5f * (outer + middle);
    v[2 * step] = 0.5f * (outer - middle);
    v[3 * step] = g[2 * from_step];
  }

  FASTCONV_DEVICE static void run(const Arguments& a) {
    std::int32_t largest = 0;
    for_each_of_span(a.lines * a.packed_channels, [&](std::int64_t i) {
      const std::int64_t line = i / a.packed_channels, channel = i % a.packed_channels;
      float filter[9] = {}, half[12], points[kPoints];
      FASTCONV_UNROLL
      for (int t = 0; t < 9; ++t) {  // taps in the order of the places that they read
        const int row = a.gather.axis[1].tap_step < 0 ? 2 - t / 3 : t / 3;
        const int column = a.gather.axis[2].tap_step < 0 ? 2 - t % 3 : t % 3;
        if (channel < a.channels)
          filter[t] = load<float>(a.from.dtype, a.from.data,
                                  line * a.from.line_step + channel * a.from.channel_step +
                                      tap_at(a.gather, 3 * row + column).kernel_tap);
      }
      FASTCONV_UNROLL
      for (int column = 0; column < 3; ++column) to_points(filter + column, 3, half + column, 3);
      FASTCONV_UNROLL
      for (int row = 0; row < kPatch; ++row) to_points(half + 3 * row, 1, points + kPatch * row, 1);
      FASTCONV_UNROLL
      for (int point = 0; point < kPoints; ++point) {
        const std::int32_t magnitude = bits_of(points[point]) & 0x7fffffff;
        largest = largest < magnitude ? magnitude : largest;
        const std::int64_t at = (point * a.lines + line) * a.packed_channels + channel;
        for (int part = 0; part < a.split.parts; ++part)
          a.to[part * a.split.part_step + at] = next_part(a.split.type, &points[point]);
      }
    });
    if (a.largest) note_largest(a.largest, largest);
  }
};

// A block finishes kTiles tiles in kLines channels of the result, through shared memory: read along the
// lines, written along what is adjacent in the result.
struct WinogradResultKernel {
  struct Arguments {
    WinogradTiles tiles;
    const float* sums;  // [tile][point][line]
    std::int64_t lines, line_blocks;
    ResultStore store;
    bool channels_adjacent;
    Turn turn;
  };
  static constexpr int kThreads = 256, kTiles = 32, kLines = 32, kPitch = kLines + 1;
  static constexpr std::int64_t kSharedBytes = kTileSide * kTileSide * kTiles * kPitch * sizeof(float);

  FASTCONV_DEVICE static void run(const Arguments& a) {
    auto* const results = static_cast<float*>(shared_memory());
    const std::int64_t first_line = block_index() % a.line_blocks * kLines;
    const std::int64_t first_tile = block_index() / a.line_blocks * kTiles, all = a.tiles.all;
    for (int n = thread_index(); n < kTiles * kLines; n += kThreads) {
      const int tile = n / kLines, line = n % kLines;
      if (first_tile + tile >= all || first_line + line >= a.lines) continue;
      const float* const sums = a.sums + (first_tile + tile) * kPoints * a.lines + first_line + line;
      float rows[2 * kPatch];  // A^T along the columns of points
      FASTCONV_UNROLL
      for (int j = 0; j < kPatch; ++j) {
        float m[kPatch];
        FASTCONV_UNROLL
        for (int i = 0; i < kPatch; ++i) m[i] = sums[(kPatch * i + j) * a.lines];
        rows[j] = m[0] + m[1] + m[2];
        rows[kPatch + j] = m[1] - m[2] - m[3];
      }
      FASTCONV_UNROLL
      for (int i = 0; i < kTileSide; ++i) {
        const float* const m = rows + kPatch * i;
        results[(2 * i * kTiles + tile) * kPitch + line] = m[0] + m[1] + m[2];
        results[((2 * i + 1) * kTiles + tile) * kPitch + line] = m[1] - m[2] - m[3];
      }
    }
    barrier();
    const GatherAxis &rows = a.tiles.gather.axis[1], &columns = a.tiles.gather.axis[2];
    for (int n = thread_index(); n < kTileSide * kTileSide * kTiles * kLines; n += kThreads) {
      // Neighbours: lines, or the two columns of a tile and then the next tile's.
      const int line = a.channels_adjacent ? n % kLines : n / (4 * kTiles);
      const int rest = a.channels_adjacent ? n / kLines : n % (4 * kTiles);
      const int j = rest % 2, tile = rest / 2 % kTiles, i = rest / 2 / kTiles;
      if (first_tile + tile >= all || first_line + line >= a.lines) continue;
      const WinogradTile t = winograd_tile(a.tiles, first_tile + tile);
      if (t.row + i >= rows.positions.value || t.column + j >= columns.positions.value) continue;
      if (!is_turn(a.turn, t.image)) continue;
      const Pixel pixel = {t.image, {0, t.row + i, t.column + j}};
      store_result<float>(a.store, result_offset(a.tiles.gather, pixel), first_line + line,
                          results[((2 * i + j) * kTiles + tile) * kPitch + line]);
    }
  }
};

}  // namespace fastconv::cuda
