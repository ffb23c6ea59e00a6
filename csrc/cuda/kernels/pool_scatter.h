// Elements of windows to the positions that their indices name, and back. What a position gets is made in the
// order of its windows: the first sum is that of the first two, the value that stays is the last one's.
//
// A block makes a tile of the result in shared memory and writes it once. It goes through the windows of its
// planes in pieces. All elements of a piece claim their position's slot of a table; the one with the smallest
// number gets it and is added, the others try again. Without collisions a piece takes one round. Positions
// that share a slot wait for each other, no more: the table is much smaller than a tile.
//
// Where a plane is cut into several tiles, the range of the indices of each piece is found first, so that
// tiles skip what has nothing for them.
#pragma once

#include "cuda/kernels/divisor.h"
#include "cuda/kernels/pool_lanes.h"
#include "cuda/kernels/spans.h"

namespace fastconv::cuda {

// Both arrays are [plane][window or position][channel]; the channels of channels_first are planes.
struct ScatterShape {
  std::int64_t planes, windows, positions, channels;
  // A tile: `slice` positions of `tile_planes` planes (more than one only of whole planes) and
  // 1 << lane_bits channels.
  std::int64_t tile_planes, slice;
  int lane_bits;
  Divisor slices, lane_groups, by_windows;
  Divisor pieces;  // of a block's windows

  std::int64_t sets() const { return ceil_div(planes, tile_planes) * lane_groups.value; }
  std::int64_t tile_elements() const { return tile_planes * slice << lane_bits; }
};

constexpr int kScatterThreads = 256, kScatterElements = 8;  // of a thread, in each piece
constexpr int kPiece = kScatterThreads * kScatterElements, kSlots = 2 * kPiece;

struct IndexRange {
  std::int64_t first, last;
};

// The planes and channels of a block.
struct ScatterSet {
  std::int64_t plane, planes, channel;
  std::int64_t elements;  // of windows, those of channels that there are not included

  FASTCONV_DEVICE ScatterSet(const ScatterShape& s, std::int64_t set) {
    const Quotient q = divide(set, s.lane_groups);
    plane = q.quotient * s.tile_planes;
    planes = s.planes - plane < s.tile_planes ? s.planes - plane : s.tile_planes;
    channel = q.remainder << s.lane_bits;
    elements = planes * s.windows << s.lane_bits;
  }
  // Where element e of `row`s (windows or positions) lies in an array with `rows` in a plane; -1: nowhere.
  FASTCONV_DEVICE std::int64_t offset(const ScatterShape& s, std::int64_t e, std::int64_t rows) const {
    const std::int64_t lane = channel + (e & ((std::int64_t{1} << s.lane_bits) - 1));
    return lane < s.channels ? (plane * rows + (e >> s.lane_bits)) * s.channels + lane : -1;
  }
};

struct IndexRangesKernel {
  struct Arguments {
    ScatterShape shape;
    const std::int64_t* indices;
    IndexRange* ranges;  // [set][piece]
  };
  static constexpr int kThreads = kScatterThreads;
  static constexpr std::int64_t kSharedBytes = kThreads * sizeof(IndexRange);

  FASTCONV_DEVICE static void run(const Arguments& a) {
    const auto [set_number, piece] = divide(block_index(), a.shape.pieces);
    const ScatterSet set(a.shape, set_number);
    IndexRange range = {INT64_MAX, -1};
    for (int i = 0; i < kScatterElements; ++i) {
      const std::int64_t e = piece * kPiece + i * kThreads + thread_index();
      const std::int64_t from = e < set.elements ? set.offset(a.shape, e, a.shape.windows) : -1;
      if (from < 0) continue;
      const std::int64_t index = a.indices[from];
      if (index >= 0) range = merged(range, {index, index});
    }
    auto* const shared = static_cast<IndexRange*>(shared_memory());
    shared[thread_index()] = range;
    for (int half = kThreads / 2; half > 0; half /= 2) {
      barrier();
      if (thread_index() < half)
        shared[thread_index()] = merged(shared[thread_index()], shared[thread_index() + half]);
    }
    if (thread_index() == 0) a.ranges[block_index()] = shared[0];
  }

 private:
  FASTCONV_DEVICE static IndexRange merged(const IndexRange& a, const IndexRange& b) {
    return {a.first < b.first ? a.first : b.first, a.last > b.last ? a.last : b.last};
  }
};

// S: of the arrays, T: of the tile; both of one size where values only move.
template <class S, class T, bool kAdds>
struct ScatterKernel {
  struct Arguments {
    ScatterShape shape;
    const S* small;
    const std::int64_t* indices;
    S* large;
    const IndexRange* ranges;  // or null: every piece may have something for every tile
  };
  static constexpr int kThreads = kScatterThreads, kResidentBlocks = 4;

  FASTCONV_DEVICE static void run(const Arguments& a) {
    const auto [set_number, slice] = divide(block_index(), a.shape.slices);
    const ScatterSet set(a.shape, set_number);
    const std::int64_t first = slice * a.shape.slice, left = a.shape.positions - first;
    const std::int64_t positions = left < a.shape.slice ? left : a.shape.slice;
    int* const slots = static_cast<int*>(shared_memory());
    T* const tile = reinterpret_cast<T*>(slots + kSlots);
    const auto elements = static_cast<int>(set.planes * positions << a.shape.lane_bits);
    for (int i = thread_index(); i < kSlots; i += kThreads) slots[i] = kNobody;
    for (int i = thread_index(); i < elements; i += kThreads) tile[i] = T(0);

    for (std::int64_t piece = 0; piece * kPiece < set.elements; ++piece) {
      if (a.ranges) {
        const IndexRange range = a.ranges[set_number * a.shape.pieces.value + piece];
        if (range.last < first || range.first >= first + positions) continue;
      }
      add_piece(a, set, piece * kPiece, first, positions, slots, tile);
    }
    barrier();
    S* const large = a.large + first * a.shape.channels;
    for (int i = thread_index(); i < elements; i += kThreads) {
      const std::int64_t to = set.offset(a.shape, i, a.shape.positions);
      if (to >= 0) large[to] = as_stored(tile[i]);
    }
  }

 private:
  static constexpr int kNobody = INT32_MAX;

  FASTCONV_DEVICE static void add_piece(const Arguments& a, const ScatterSet& set, std::int64_t begin,
                                        std::int64_t first, std::int64_t positions, int* slots, T* tile) {
    int at[kScatterElements];  // in the tile; -1: nowhere, or there already
    T value[kScatterElements];
    for (int i = 0; i < kScatterElements; ++i) {
      const std::int64_t e = begin + number(i);
      const std::int64_t from = e < set.elements ? set.offset(a.shape, e, a.shape.windows) : -1;
      at[i] = -1;
      value[i] = T(0);
      if (from >= 0) {
        at[i] = place(a.shape, e, a.indices[from] - first, positions);
        value[i] = as_summed(a.small[from]);
      }
    }
    // This is the barrier between pieces, and between rounds, too.
    while (any_in_block(any_waits(at))) {
      for (int i = 0; i < kScatterElements; ++i)
        if (at[i] >= 0) atomic_min(&slots[at[i] % kSlots], number(i));
      barrier();
      bool won[kScatterElements];
      for (int i = 0; i < kScatterElements; ++i) {
        won[i] = at[i] >= 0 && slots[at[i] % kSlots] == number(i);
        if (won[i]) tile[at[i]] = kAdds ? static_cast<T>(tile[at[i]] + value[i]) : value[i];
      }
      barrier();
      for (int i = 0; i < kScatterElements; ++i) {
        if (!won[i]) continue;
        slots[at[i] % kSlots] = kNobody;
        at[i] = -1;
      }
    }
  }

  FASTCONV_DEVICE static int number(int i) { return i * kThreads + thread_index(); }

  FASTCONV_DEVICE static bool any_waits(const int (&at)[kScatterElements]) {
    bool any = false;
    for (const int place : at) any = any || place >= 0;
    return any;
  }

  FASTCONV_DEVICE static int place(const ScatterShape& s, std::int64_t e, std::int64_t index,
                                   std::int64_t positions) {
    if (index < 0 || index >= positions) return -1;
    const std::int64_t plane = s.tile_planes > 1 ? divide(e, s.by_windows).quotient : 0;
    const int lane = static_cast<int>(e) & ((1 << s.lane_bits) - 1);
    return static_cast<int>(plane * positions + index) << s.lane_bits | lane;
  }

  FASTCONV_DEVICE static T as_summed(S x) {
    if constexpr (kAdds) {
      return widened(x);
    } else {
      return x;
    }
  }
  FASTCONV_DEVICE static S as_stored(T x) {
    if constexpr (kAdds) {
      return narrowed<S>(x);
    } else {
      return x;
    }
  }
};

// small = large[index], zeros where an index is none. T: an unsigned integer of the item's size.
template <class T>
struct GatherKernel {
  struct Arguments {
    const T* large;
    const std::int64_t* indices;
    T* small;
    std::int64_t count, positions, channels;
    Divisor of_plane, by_channels;  // elements of `small`
  };
  static constexpr int kThreads = kSpanThreads;

  FASTCONV_DEVICE static void run(const Arguments& a) {
    for_each_of_span(a.count, [&](std::int64_t i) {
      const std::int64_t index = a.indices[i];
      const std::int64_t channel = divide(i, a.by_channels).remainder;
      const std::int64_t row = divide(i, a.of_plane).quotient * a.positions + index;
      a.small[i] = index >= 0 && index < a.positions ? a.large[row * a.channels + channel] : T(0);
    });
  }
};

}  // namespace fastconv::cuda
