// Results and input gradients by warpgroups (warpgroup_tile.h): im2col copies bring packed pixels, tiled
// copies packed filters.
#pragma once

#include "cuda/kernels/im2col.h"
#include "cuda/kernels/tensor_core_images.h"
#include "cuda/kernels/warpgroup_tile.h"

namespace fastconv::cuda {

// A piece of the reduction is kWarpgroupDepth channels of a tap, or what is left of them.
struct WarpgroupImagesArguments : TensorCoreImagesArguments {
  Im2colGather pixels;
  TensorMap filter_map;  // channel, tap, line of all groups, part
};

template <class T, int kTileColumns, int kParts>
struct WarpgroupImagesKernel {
  using Arguments = WarpgroupImagesArguments;
  using Tile = WarpgroupTile<T, kTileColumns, kParts, Major::k>;
  static constexpr int kColumns = kTileColumns, kPiece = kWarpgroupDepth, kDepth = kWarpgroupDepth;
  static constexpr int kThreads = Tile::kThreads, kResidentBlocks = Tile::kResidentBlocks;
  static constexpr std::int64_t kSharedBytes = Tile::kSharedBytes + kTensorRows * sizeof(std::int64_t);

  FASTCONV_DEVICE static int pieces_of_tap(const Arguments& a) {
    return static_cast<int>((a.channels + kPiece - 1) / kPiece);
  }

  struct Source {
    const Arguments& a;
    Im2colPlace place;
    Im2colOffset offset;
    int tap, channel;  // of the group
    int group, line;

    FASTCONV_DEVICE Source(const Arguments& arguments, const ImageTile& t) : a(arguments) {
      place.set(a.gather, a.pixels, t.first_row);
      tap = static_cast<int>(t.first_piece / pieces_of_tap(a));
      channel = static_cast<int>(t.first_piece % pieces_of_tap(a)) * kPiece;
      offset.set(a.gather, a.pixels, tap);
      group = static_cast<int>(t.group * a.channels);
      line = static_cast<int>(t.group * a.lines + t.first_line);
    }
    FASTCONV_DEVICE void copy(unsigned char* to, Mbarrier* done) {
      FASTCONV_UNROLL
      for (int part = 0; part < kParts; ++part) {
        copy_pixels(to + part * Tile::kRowBytes, a.pixels, part, done, group + channel, place, offset);
        copy_tile(to + kParts * Tile::kRowBytes + part * Tile::kColumnBytes, a.filter_map, done,
                  {channel, tap, line, part});
      }
      channel += kPiece;
      if (channel < a.channels) return;
      channel = 0;
      offset.set(a.gather, a.pixels, ++tap);
    }
  };

  FASTCONV_DEVICE static void run(const Arguments& a) {
    const ImageTile t = image_tile<kTensorRows, kColumns>(a);
    if (!has_turn<kTensorRows>(a, t.first_row)) return;
    const std::int64_t steps = t.end_piece - t.first_piece;
    Tile::begin();
    if (Tile::is_consumer()) {
      Tile::become_consumer();
      auto* const offsets =
          reinterpret_cast<std::int64_t*>(static_cast<char*>(shared_memory()) + Tile::kSharedBytes);
      find_result_rows<kTensorRows, Tile::kConsumers>(a, t, offsets, thread_index());
      Tile tile;
      tile.consume(steps);
      store_image_tile<kTensorRows, kColumns, Tile::kConsumers>(a, t, tile.result(), Tile::kResultPitch,
                                                                offsets, thread_index());
    } else {
      Tile::become_producer();
      Tile::produce(steps, [&] { return Source(a, t); });
    }
  }
};

}  // namespace fastconv::cuda
