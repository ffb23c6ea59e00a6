// Kernels that use mbarrier.h, tensor_copy.h, wgmma.h and warp_roles.h, for cuda_primitives_test.cpp.
#pragma once

#include "cuda/tensor_copy.h"
#include "cuda/wgmma.h"

namespace fastconv::test {

using namespace cuda;

// What one bulk copy brings, as it lies in shared memory.
template <int kAxes, bool kIm2col>
struct CopyKernel {
  struct Arguments {
    TensorMap map;
    int at[kAxes], offset[3];
    int bytes;
    std::uint32_t* result;
  };
  static constexpr int kThreads = kWarp;
  static constexpr std::int64_t kBarrierBytes = 1024;

  FASTCONV_DEVICE static void run(const Arguments& a) {
    auto* const memory = static_cast<unsigned char*>(shared_memory());
    auto* const done = reinterpret_cast<Mbarrier*>(memory);
    unsigned char* const tile = memory + kBarrierBytes;
    if (thread_index() == 0) {
      init_mbarrier(done, 1);
      publish_mbarriers();
    }
    barrier();
    if (thread_index() == 0) {
      prefetch(a.map);
      arrive_expecting(done, a.bytes);
      if constexpr (kIm2col) {
        int offset[kAxes - 2];
        FASTCONV_UNROLL
        for (int i = 0; i < kAxes - 2; ++i) offset[i] = a.offset[i];
        copy_im2col(tile, a.map, done, a.at, offset);
      } else {
        copy_tile(tile, a.map, done, a.at);
      }
    }
    wait_for_phase(done, 0);
    const auto* const words = reinterpret_cast<const std::uint32_t*>(tile);
    for (int i = thread_index(); i < a.bytes / 4; i += kThreads) a.result[i] = words[i];
  }
};

// D[64, kColumns] = A B over 128 bytes of k, twice, the second time added; operands are whole tiles that
// threads store swizzled. kA and kB say how both lie in memory.
template <class T, int kColumns, Major kA, Major kB>
struct WarpgroupProductKernel {
  struct Arguments {
    const T *a, *b;  // rows of m, n (Major::k) or k (Major::mn)
    float* d;
  };
  static constexpr int kThreads = kWarpgroup, kM = 64;
  static constexpr int kDepth = 128 / static_cast<int>(sizeof(T)), kStep = 32 / static_cast<int>(sizeof(T));
  static constexpr std::int64_t kSharedBytes = (kM + (kColumns + 63) / 64 * 64) * 128;

  // Rows of `width` elements as tiles of 64 or 128 bytes' worth of them, one tile's rows after another's.
  FASTCONV_DEVICE static void store(unsigned char* to, const T* from, int rows, int width) {
    for (int i = thread_index(); i < rows * width; i += kThreads) {
      const int row = i / width, column = i % width;
      const int at = (column / kDepth * rows + row) * 128 + column % kDepth * static_cast<int>(sizeof(T));
      *reinterpret_cast<T*>(to + (at ^ (row % 8 * 16))) = from[i];
    }
  }

  // Bytes from the operand's begin to the one of step `i` of k, and its descriptor's two distances.
  template <Major kMajor>
  FASTCONV_DEVICE static std::uint64_t descriptor(const unsigned char* operand, int i) {
    constexpr int kEightRows = 1024;
    if constexpr (kMajor == Major::k) {
      return advanced(matrix_descriptor(operand, 0, kEightRows), i * 32);
    } else {
      return advanced(matrix_descriptor(operand, kDepth * 128, kEightRows), i * kStep * 128);
    }
  }

  FASTCONV_DEVICE static void run(const Arguments& a) {
    auto* const of_a = static_cast<unsigned char*>(shared_memory());
    unsigned char* const of_b = of_a + kM * 128;
    store(of_a, a.a, kA == Major::k ? kM : kDepth, kA == Major::k ? kDepth : kM);
    store(of_b, a.b, kB == Major::k ? kColumns : kDepth, kB == Major::k ? kDepth : kColumns);
    publish_to_async_proxy();
    barrier();
    float d[kColumns / 2];
    FASTCONV_UNROLL
    for (int i = 0; i < kColumns / 2; ++i) d[i] = -1;
    wgmma_fence();
    FASTCONV_UNROLL
    for (int i = 0; i < kDepth / kStep; ++i)
      wgmma<T, kColumns, kA, kB>(d, descriptor<kA>(of_a, i), descriptor<kB>(of_b, i), i > 0);
    wgmma_commit();
    FASTCONV_UNROLL
    for (int i = 0; i < kDepth / kStep; ++i)
      wgmma<T, kColumns, kA, kB>(d, descriptor<kA>(of_a, i), descriptor<kB>(of_b, i), true);
    wgmma_commit();
    wgmma_wait<1>();
    wgmma_wait<0>(d);
    const int warp = thread_index() / kWarp, lane = thread_index() % kWarp;
    FASTCONV_UNROLL
    for (int i = 0; i < kColumns / 2; ++i) {
      const int row = 16 * warp + lane / 4 + i / 2 % 2 * 8, column = i / 4 * 8 + lane % 4 * 2 + i % 2;
      a.d[row * kColumns + column] = d[i];
    }
  }
};

// y[pixel, filter] of a convolution in kSpatial dimensions, as a product of im2col pixels with filters: a
// warpgroup of which one thread copies, and one that multiplies and writes through shared memory.
template <class T, int kSpatial, int kColumns>
struct ConvolutionKernel {
  struct Arguments {
    TensorMap x, filters;  // filters: channel, tap, filter
    float* y;
    int channels, filter_count, pixels;
    int out[3], filter[3], lower[3], stride[3], dilation[3];  // W, H, D
  };
  static constexpr int kStages = 3, kM = 64, kProducer = 0, kConsumer = 1;
  static constexpr int kThreads = 2 * kWarpgroup, kResidentBlocks = 1;
  static constexpr int kDepth = 128 / static_cast<int>(sizeof(T)), kStep = 32 / static_cast<int>(sizeof(T));
  static constexpr int kBytesA = kM * 128, kBytesB = (kColumns + 7) / 8 * 1024,
                       kStageBytes = kBytesA + kBytesB;
  static constexpr int kResultBytes = kM * kColumns * 4;
  static constexpr std::int64_t kSharedBytes = kStages * kStageBytes + kResultBytes + 2 * kStages * 8;

  struct Shared {
    unsigned char* stages;
    float* result;
    Mbarrier *full, *empty;  // of each stage
  };

  FASTCONV_DEVICE static int steps(const Arguments& a) {
    return a.filter[0] * a.filter[1] * a.filter[2] * ((a.channels + kDepth - 1) / kDepth);
  }

  FASTCONV_DEVICE static void produce(const Arguments& a, const Shared& s) {
    const int chunks = (a.channels + kDepth - 1) / kDepth, all = steps(a);
    int at[kSpatial + 2], pixel = static_cast<int>(block_index()) * kM;
    FASTCONV_UNROLL
    for (int i = 0; i < kSpatial; ++i) {
      at[i + 1] = a.lower[i] + pixel % a.out[i] * a.stride[i];
      pixel /= a.out[i];
    }
    at[kSpatial + 1] = pixel;
    for (int step = 0; step < all; ++step) {
      const int stage = step % kStages, round = step / kStages;
      wait_for_phase(s.empty + stage, (round + 1) % 2);
      arrive_expecting(s.full + stage, kBytesA + kColumns * 128);
      unsigned char* const to = s.stages + stage * kStageBytes;
      const int tap = step / chunks;
      int offset[kSpatial], rest = tap;
      FASTCONV_UNROLL
      for (int i = 0; i < kSpatial; ++i) {
        offset[i] = rest % a.filter[i] * a.dilation[i];
        rest /= a.filter[i];
      }
      at[0] = step % chunks * kDepth;
      copy_im2col(to, a.x, s.full + stage, at, offset);
      copy_tile(to + kBytesA, a.filters, s.full + stage, {at[0], tap, 0});
    }
  }

  FASTCONV_DEVICE static void consume(const Arguments& a, const Shared& s) {
    const int all = steps(a);
    float d[kColumns / 2];
    for (int step = 0; step < all; ++step) {
      const int stage = step % kStages;
      wait_for_phase(s.full + stage, step / kStages % 2);
      const unsigned char* const from = s.stages + stage * kStageBytes;
      const std::uint64_t of_a = matrix_descriptor(from, 0, 1024),
                          of_b = matrix_descriptor(from + kBytesA, 0, 1024);
      wgmma_fence();
      FASTCONV_UNROLL
      for (int i = 0; i < kDepth / kStep; ++i)
        wgmma<T, kColumns>(d, advanced(of_a, 32 * i), advanced(of_b, 32 * i), step > 0 || i > 0);
      wgmma_commit();
      wgmma_wait<1>();  // of the step before, whose stage is free now
      if (step > 0 && elected()) arrive(s.empty + (step - 1) % kStages);
    }
    wgmma_wait<0>(d);
    write(a, s, d);
  }

  FASTCONV_DEVICE static void write(const Arguments& a, const Shared& s, const float (&d)[kColumns / 2]) {
    const int thread = thread_index() % kWarpgroup, warp = thread / kWarp, lane = thread % kWarp;
    FASTCONV_UNROLL
    for (int i = 0; i < kColumns / 2; ++i) {
      const int row = 16 * warp + lane / 4 + i / 2 % 2 * 8, column = i / 4 * 8 + lane % 4 * 2 + i % 2;
      s.result[row * kColumns + column] = d[i];
    }
    barrier_of(1, kWarpgroup);
    const int first = static_cast<int>(block_index()) * kM;
    for (int i = thread; i < kM * kColumns; i += kWarpgroup) {
      const int pixel = first + i / kColumns, filter = i % kColumns;
      if (pixel < a.pixels && filter < a.filter_count)
        a.y[static_cast<std::int64_t>(pixel) * a.filter_count + filter] = s.result[i];
    }
  }

  FASTCONV_DEVICE static void run(const Arguments& a) {
    auto* const memory = static_cast<unsigned char*>(shared_memory());
    Shared s;
    s.stages = memory;
    s.result = reinterpret_cast<float*>(memory + kStages * kStageBytes);
    s.full = reinterpret_cast<Mbarrier*>(memory + kStages * kStageBytes + kResultBytes);
    s.empty = s.full + kStages;
    if (thread_index() == 0) {
      for (int i = 0; i < kStages; ++i) {
        init_mbarrier(s.full + i, 1);
        init_mbarrier(s.empty + i, kWarpgroup / kWarp);
      }
      publish_mbarriers();
    }
    barrier();
    if (thread_index() / kWarpgroup == kProducer) {
      keep_registers<40>();
      if (thread_index() < kWarp && elected()) produce(a, s);
    } else {
      take_registers<232>();
      consume(a, s);
    }
  }
};

}  // namespace fastconv::test
