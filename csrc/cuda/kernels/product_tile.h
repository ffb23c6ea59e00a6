// The multiplication at the heart of the products on the scalar units: a block of 256 threads multiplies
// kTileRows rows by kColumns columns over a reduction that comes in steps of kDepth, through two buffers in
// shared memory, each thread 8 rows by kColumns / 16 columns.
//
// The reduction falls into chains of kChain terms, whose sums are added up: so an error grows as with a BLAS,
// not with the whole length.
#pragma once

#include "cuda/device.h"

namespace fastconv::cuda {

constexpr int kTileRows = 128, kTileThreads = 256, kDepth = 8, kChain = 16;
constexpr int kThreadRows = 8, kRowThreads = kTileRows / kThreadRows;  // 16 threads along the rows
constexpr int kTilePad = 4;                                            // elements between lines of a buffer

template <class T, int kColumns>
struct ProductTile {
  static constexpr int kThreadColumns = kColumns / (kTileThreads / kRowThreads);
  static constexpr int kRowPitch = kTileRows + kTilePad, kColumnPitch = kColumns + kTilePad;
  static constexpr std::int64_t kSharedBytes = 2 * kDepth * (kRowPitch + kColumnPitch) * sizeof(T);
  // Elements that a thread fetches for a step.
  static constexpr int kRowFetches = kTileRows * kDepth / kTileThreads;
  static constexpr int kColumnFetches = kColumns * kDepth / kTileThreads;
  static_assert(kColumnFetches * kTileThreads == kColumns * kDepth);

  T total[kThreadRows][kThreadColumns], chain[kThreadRows][kThreadColumns];

  // Which rows and columns of the tile are a thread's: 4 neighbours, twice, and kThreadColumns neighbours.
  FASTCONV_DEVICE static int row(int i) {
    return thread_index() % kRowThreads * 4 + i % 4 + i / 4 * (kTileRows / 2);
  }
  FASTCONV_DEVICE static int column(int j) { return thread_index() / kRowThreads * kThreadColumns + j; }

  FASTCONV_DEVICE void multiply(const T* rows, const T* columns) {
    FASTCONV_UNROLL
    for (int k = 0; k < kDepth; ++k) {
      T a[kThreadRows], b[kThreadColumns];
      FASTCONV_UNROLL
      for (int i = 0; i < kThreadRows; ++i) a[i] = rows[k * kRowPitch + row(i)];
      FASTCONV_UNROLL
      for (int j = 0; j < kThreadColumns; ++j) b[j] = columns[k * kColumnPitch + column(j)];
      FASTCONV_UNROLL
      for (int i = 0; i < kThreadRows; ++i) {
        FASTCONV_UNROLL
        for (int j = 0; j < kThreadColumns; ++j) chain[i][j] = fma(a[i], b[j], chain[i][j]);
      }
    }
  }

  FASTCONV_DEVICE void end_chain() {
    FASTCONV_UNROLL
    for (int i = 0; i < kThreadRows; ++i) {
      FASTCONV_UNROLL
      for (int j = 0; j < kThreadColumns; ++j) {
        total[i][j] += chain[i][j];
        chain[i][j] = 0;
      }
    }
  }

  // Sums over [begin, end). A source fetches a thread's elements of the step that begins at k into registers
  // (zeros beyond `end`) and tells where in a buffer they belong: `index(i)` is depth * pitch + line.
  template <class Rows, class Columns>
  FASTCONV_DEVICE void run(Rows* rows, Columns* columns, std::int64_t begin, std::int64_t end) {
    auto* const row_buffers = static_cast<T*>(shared_memory());
    T* const column_buffers = row_buffers + 2 * kDepth * kRowPitch;
    FASTCONV_UNROLL
    for (int i = 0; i < kThreadRows; ++i) {
      FASTCONV_UNROLL
      for (int j = 0; j < kThreadColumns; ++j) total[i][j] = chain[i][j] = 0;
    }

    if (begin >= end) return;
    T a[kRowFetches], b[kColumnFetches];
    const auto fetch = [&](std::int64_t k) {
      rows->fetch(k, end, a);
      columns->fetch(k, end, b);
    };
    const auto put = [&](int buffer) {
      FASTCONV_UNROLL
      for (int i = 0; i < kRowFetches; ++i) row_buffers[buffer * kDepth * kRowPitch + rows->index(i)] = a[i];
      FASTCONV_UNROLL
      for (int i = 0; i < kColumnFetches; ++i)
        column_buffers[buffer * kDepth * kColumnPitch + columns->index(i)] = b[i];
    };
    fetch(begin);
    put(0);
    int buffer = 0, depth = 0;
    for (std::int64_t k = begin; k < end; k += kDepth) {
      barrier();
      const bool more = k + kDepth < end;
      if (more) fetch(k + kDepth);
      multiply(row_buffers + buffer * kDepth * kRowPitch, column_buffers + buffer * kDepth * kColumnPitch);
      depth += kDepth;
      if (depth == kChain) {
        end_chain();
        depth = 0;
      }
      buffer ^= 1;
      if (more) put(buffer);
    }
    end_chain();
  }
};

// Who fetches what of a tile of kLines lines: neighbouring threads take neighbouring lines, or neighbouring
// terms of the reduction, whichever lie next to each other in memory.
template <int kLines, int kPitch, bool kLinesAdjacent>
struct FetchOrder {
  static constexpr int kFetches = kLines * kDepth / kTileThreads;
  FASTCONV_DEVICE static int line(int i) {
    const int n = thread_index() + i * kTileThreads;
    return kLinesAdjacent ? n % kLines : n / kDepth;
  }
  FASTCONV_DEVICE static int depth(int i) {
    const int n = thread_index() + i * kTileThreads;
    return kLinesAdjacent ? n / kLines : n % kDepth;
  }
  FASTCONV_DEVICE static int index(int i) { return depth(i) * kPitch + line(i); }
};

}  // namespace fastconv::cuda
