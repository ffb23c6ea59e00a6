// The multiplication on tensor cores (mma.sync): a block of 256 threads multiplies kTensorRows rows by
// kColumns columns over a reduction that comes in steps of kTensorDepth, through stages in shared memory that
// asynchronous copies fill ahead. An operand of a stage is a tile of 16-bit elements for each of its parts
// (packing.h), and the products of parts that count are all made while they are there.
//
// Tensor cores cut off what they add where a BLAS rounds. So with several parts, whose products are to be as
// good as float32's, they make the sums of a step alone, from the small products to the large, and the
// threads add those up.
#pragma once

#include "cuda/async_copy.h"
#include "cuda/kernels/packing.h"
#include "cuda/tensor_core.h"

namespace fastconv::cuda {

constexpr int kTensorRows = 128, kTensorThreads = 256, kTensorDepth = 32;

// A tile of kLines lines by kTensorDepth terms in pieces of 16 bytes, which lie along the terms or
// (kTermsAdjacent false) along the lines. Pieces are swizzled: the eight that ldmatrix reads at once lie in
// different banks, and so do neighbours.
template <int kLines, bool kTermsAdjacent>
struct OperandTile {
  static constexpr int kBytes = kLines * kTensorDepth * 2;
  static constexpr int kPiecesOfRow = (kTermsAdjacent ? kTensorDepth : kLines) / kPackedChannels;
  static constexpr int kRows = kTermsAdjacent ? kLines : kTensorDepth;
  static constexpr int kPieces = kRows * kPiecesOfRow / kTensorThreads;  // that a thread copies
  static_assert(kPieces * kTensorThreads == kRows * kPiecesOfRow);

  // Rows and pieces of a thread's copies: its piece of a row is the same in all of them.
  FASTCONV_DEVICE static int row(int i) {
    return thread_index() / kPiecesOfRow + i * (kTensorThreads / kPiecesOfRow);
  }
  FASTCONV_DEVICE static int piece() { return thread_index() % kPiecesOfRow; }

  FASTCONV_DEVICE static int offset(int row, int piece) {
    const int swizzle = kTermsAdjacent ? row / 2 % kPiecesOfRow : row % 8;
    return (row * kPiecesOfRow + (piece ^ swizzle)) * 16;
  }

  // The fragments of 16 lines by 16 terms from (line, term) on: with kLinesFirst the registers go through the
  // lines first, as those of A, else through the terms, as those of two neighbours of B.
  template <bool kLinesFirst>
  FASTCONV_DEVICE static void load(const unsigned char* tile, int line, int term, std::uint32_t (&r)[4]) {
    const int lane = thread_index() % kWarp, matrix = lane / 8, row = lane % 8;
    line += (kLinesFirst ? matrix % 2 : matrix / 2) * 8;
    term += (kLinesFirst ? matrix / 2 : matrix % 2) * 8;
    if constexpr (kTermsAdjacent) {
      load_matrices(r, tile + offset(line + row, term / kPackedChannels));
    } else {
      load_transposed(r, tile + offset(term + row, line / kPackedChannels));
    }
  }
};

// T: Float16 or BFloat16. kTermsAdjacent: of both operands' tiles.
template <class T, int kColumns, int kParts, bool kTermsAdjacent>
struct TensorCoreTile {
  using Rows = OperandTile<kTensorRows, kTermsAdjacent>;
  using Columns = OperandTile<kColumns, kTermsAdjacent>;
  static constexpr int kStages = kParts == 1 ? 4 : kParts == 2 ? 3 : 2;
  static constexpr int kStageBytes = kParts * (Rows::kBytes + Columns::kBytes);
  static constexpr int kResultPitch = kColumns + 1;
  static constexpr std::int64_t kResultBytes = kTensorRows * kResultPitch * sizeof(float);
  static constexpr std::int64_t kSharedBytes =
      kStages * kStageBytes > kResultBytes ? kStages * kStageBytes : kResultBytes;

  // A warp's share: kWarpRows rows by 32 columns, in fragments of 16 by 8.
  static constexpr int kWarpsAlongColumns = kColumns / 32;
  static constexpr int kWarpRows = kTensorRows * kWarpsAlongColumns * kWarp / kTensorThreads;
  static constexpr int kRowFragments = kWarpRows / 16, kColumnFragments = 4;
  static_assert(kWarpRows % 16 == 0);

  float sum[kRowFragments][kColumnFragments][4];

  FASTCONV_DEVICE static int first_row() { return thread_index() / kWarp / kWarpsAlongColumns * kWarpRows; }
  FASTCONV_DEVICE static int first_column() { return thread_index() / kWarp % kWarpsAlongColumns * 32; }

  using Sums = float[kRowFragments][kColumnFragments][4];

  // Adds the products of `part` of the columns with the parts of the rows from `last` down to `first`. The
  // columns' fragments are kept and the rows' come one by one, which takes the fewest registers.
  FASTCONV_DEVICE static void multiply_parts(const unsigned char* stage, int term, int part, int first,
                                             int last, Sums& to) {
    const unsigned char* const columns = stage + kParts * Rows::kBytes + part * Columns::kBytes;
    std::uint32_t b[kColumnFragments][2];
    FASTCONV_UNROLL
    for (int j = 0; j < kColumnFragments; j += 2) {
      std::uint32_t pair[4];
      Columns::template load<false>(columns, first_column() + j * 8, term, pair);
      FASTCONV_UNROLL
      for (int r = 0; r < 4; ++r) b[j + r / 2][r % 2] = pair[r];
    }
    FASTCONV_UNROLL
    for (int other = last; other >= first; --other) {
      FASTCONV_UNROLL
      for (int i = 0; i < kRowFragments; ++i) {
        std::uint32_t a[4];
        Rows::template load<true>(stage + other * Rows::kBytes, first_row() + i * 16, term, a);
        FASTCONV_UNROLL
        for (int j = 0; j < kColumnFragments; ++j) multiply_add<T>(to[i][j], a, b[j]);
      }
    }
  }

  FASTCONV_DEVICE static void multiply(const unsigned char* stage, Sums& to) {
    FASTCONV_UNROLL
    for (int term = 0; term < kTensorDepth; term += 16) {
      FASTCONV_UNROLL
      for (int part = kParts - 1; part >= 0; --part)
        multiply_parts(stage, term, part, part == 0 ? 1 : 0, kParts - 1 - part, to);
    }
    FASTCONV_UNROLL
    for (int term = 0; term < kTensorDepth; term += 16) multiply_parts(stage, term, 0, 0, 0, to);
  }

  // Sums over so many terms. A source starts the copies of its thread's pieces of the step that comes next:
  // copy(tile of the first part, terms that are left; what is beyond them is zeros).
  template <class RowSource, class ColumnSource>
  FASTCONV_DEVICE void run(RowSource* rows, ColumnSource* columns, int terms) {
    auto* const stages = static_cast<unsigned char*>(shared_memory());
    const auto fetch = [&](int stage, int left) {
      unsigned char* const to = stages + stage * kStageBytes;
      if (left > 0) {
        rows->copy(to, left);
        columns->copy(to + kParts * Rows::kBytes, left);
      }
      commit_copies();
    };
    clear(sum);
    for (int stage = 0; stage < kStages - 1; ++stage) fetch(stage, terms - stage * kTensorDepth);
    int stage = 0;
    for (int left = terms; left > 0; left -= kTensorDepth) {
      wait_for_copies<kStages - 2>();
      barrier();  // the stage is there, and nobody reads the one that is filled next
      fetch(stage == 0 ? kStages - 1 : stage - 1, left - (kStages - 1) * kTensorDepth);
      if constexpr (kParts > 1) {
        Sums of_step;
        clear(of_step);
        multiply(stages + stage * kStageBytes, of_step);
        add(of_step);
      } else {
        multiply(stages + stage * kStageBytes, sum);
      }
      stage = stage == kStages - 1 ? 0 : stage + 1;
    }
    wait_for_copies<0>();
    barrier();  // shared memory is the result's
  }

  // Puts the sums into shared memory: row r's begin at r * kResultPitch.
  FASTCONV_DEVICE const float* result() const {
    auto* const memory = static_cast<float*>(shared_memory());
    const int lane = thread_index() % kWarp;
    FASTCONV_UNROLL
    for (int i = 0; i < kRowFragments; ++i) {
      FASTCONV_UNROLL
      for (int j = 0; j < kColumnFragments; ++j) {
        FASTCONV_UNROLL
        for (int r = 0; r < 4; ++r) {
          const int row = first_row() + i * 16 + lane / 4 + r / 2 * 8;
          const int column = first_column() + j * 8 + lane % 4 * 2 + r % 2;
          memory[row * kResultPitch + column] = sum[i][j][r];
        }
      }
    }
    barrier();
    return memory;
  }

 private:
  FASTCONV_DEVICE static void clear(Sums& f) {
    FASTCONV_UNROLL
    for (int i = 0; i < kRowFragments; ++i) {
      FASTCONV_UNROLL
      for (int j = 0; j < kColumnFragments; ++j) {
        FASTCONV_UNROLL
        for (int r = 0; r < 4; ++r) f[i][j][r] = 0;
      }
    }
  }
  FASTCONV_DEVICE void add(const Sums& f) {
    FASTCONV_UNROLL
    for (int i = 0; i < kRowFragments; ++i) {
      FASTCONV_UNROLL
      for (int j = 0; j < kColumnFragments; ++j) {
        FASTCONV_UNROLL
        for (int r = 0; r < 4; ++r) sum[i][j][r] += f[i][j][r];
      }
    }
  }
};

}  // namespace fastconv::cuda
