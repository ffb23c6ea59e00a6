// Kernels that use async_copy.h and tensor_core.h, for cuda_primitives_test.cpp.
#pragma once

#include "cuda/async_copy.h"
#include "cuda/tensor_core.h"

namespace fastconv::test {

using namespace cuda;

// What lanes get of `kMatrices` matrices of 8 x 8 elements: registers[lane][matrix].
template <int kMatrices, bool kTransposed>
struct LoadMatricesKernel {
  struct Arguments {
    const std::uint16_t* matrices;
    std::uint32_t* registers;
  };
  static constexpr int kThreads = kWarp;
  static constexpr std::int64_t kSharedBytes = kMatrices * 8 * 16;

  FASTCONV_DEVICE static void run(const Arguments& a) {
    auto* const tile = static_cast<std::uint16_t*>(shared_memory());
    const int lane = thread_index();
    for (int i = lane; i < kMatrices * 64; i += kThreads) tile[i] = a.matrices[i];
    barrier();
    std::uint32_t r[kMatrices];
    const std::uint16_t* const row = tile + 8 * (lane % (8 * kMatrices));
    if constexpr (kTransposed) {
      load_transposed(r, row);
    } else {
      load_matrices(r, row);
    }
    FASTCONV_UNROLL
    for (int i = 0; i < kMatrices; ++i) a.registers[lane * kMatrices + i] = r[i];
  }
};

struct RoundToTf32Kernel {
  struct Arguments {
    const float* x;
    Tf32* y;
  };
  static constexpr int kThreads = kWarp;

  FASTCONV_DEVICE static void run(const Arguments& a) { a.y[thread_index()] = to_tf32(a.x[thread_index()]); }
};

// C[m, n] = sum over k of A[m, k] B[n, k], for any k: a block computes 32 x 16, each of its four warps 16 x
// 8, from tiles that copies of kCopyBytes bring kStages - 1 steps ahead.
template <class T, int kCopyBytes>
struct PipelinedProductKernel {
  struct Arguments {
    const T *a, *b;
    float* c;
    int m, n, k;
  };
  static constexpr int kThreads = 128, kStages = 3, kRows = 32, kColumns = 16;
  static constexpr int kStepBytes = 32, kStep = kStepBytes / static_cast<int>(sizeof(T));  // of k
  static constexpr int kPitch = 48;  // bytes from row to row of a tile: eight rows lie in different banks
  static constexpr int kStageBytes = (kRows + kColumns) * kPitch;
  static constexpr std::int64_t kSharedBytes = kStages * kStageBytes;

  // Rows of A, then rows of B; zeros beyond either matrix's end.
  FASTCONV_DEVICE static void load_stage(const Arguments& a, unsigned char* stage, int row, int column,
                                         int step) {
    constexpr int kPieces = kStepBytes / kCopyBytes;
    for (int i = thread_index(); i < (kRows + kColumns) * kPieces; i += kThreads) {
      const int line = i / kPieces, piece = i % kPieces;
      const bool of_a = line < kRows;
      const int from_row = of_a ? row + line : column + line - kRows;
      const int k = step * kStep + piece * (kCopyBytes / static_cast<int>(sizeof(T)));
      const int rest = (a.k - k) * static_cast<int>(sizeof(T));
      const int valid =
          from_row < (of_a ? a.m : a.n) && rest > 0 ? (rest < kCopyBytes ? rest : kCopyBytes) : 0;
      const T* const matrix = of_a ? a.a : a.b;
      copy_async<kCopyBytes>(stage + line * kPitch + piece * kCopyBytes,
                             valid > 0 ? matrix + static_cast<std::int64_t>(from_row) * a.k + k : matrix,
                             valid);
    }
  }

  FASTCONV_DEVICE static void multiply_stage(const unsigned char* stage, float (&c)[4]) {
    const int warp = thread_index() / kWarp, lane = thread_index() % kWarp;
    std::uint32_t x[4], y[2];
    load_matrices(x, stage + (warp / 2 * 16 + lane % 16) * kPitch + lane / 16 * 16);
    load_matrices(y, stage + (kRows + warp % 2 * 8 + lane % 8) * kPitch + lane / 8 % 2 * 16);
    multiply_add<T>(c, x, y);
  }

  FASTCONV_DEVICE static void run(const Arguments& a) {
    auto* const stages = static_cast<unsigned char*>(shared_memory());
    const int columns = (a.n + kColumns - 1) / kColumns, steps = (a.k + kStep - 1) / kStep;
    const int row = static_cast<int>(block_index()) / columns * kRows;
    const int column = static_cast<int>(block_index()) % columns * kColumns;
    for (int step = 0; step < kStages - 1; ++step) {
      if (step < steps) load_stage(a, stages + step * kStageBytes, row, column, step);
      commit_copies();
    }
    float c[4] = {};
    for (int step = 0; step < steps; ++step) {
      wait_for_copies<kStages - 2>();
      barrier();  // the step's tiles are there, and nobody reads those that the next copies replace
      const int next = step + kStages - 1;
      if (next < steps) load_stage(a, stages + next % kStages * kStageBytes, row, column, next);
      commit_copies();
      multiply_stage(stages + step % kStages * kStageBytes, c);
    }
    const int warp = thread_index() / kWarp, lane = thread_index() % kWarp;
    FASTCONV_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int to_row = row + warp / 2 * 16 + lane / 4 + i / 2 * 8;
      const int to_column = column + warp % 2 * 8 + lane % 4 * 2 + i % 2;
      if (to_row < a.m && to_column < a.n) a.c[static_cast<std::int64_t>(to_row) * a.n + to_column] = c[i];
    }
  }
};

}  // namespace fastconv::test
