// The multiplication by warpgroups (wgmma, sm_90a): two of them multiply kTensorRows rows by kColumns
// columns, 64 rows each, over a reduction that comes in steps of kWarpgroupDepth, and one thread of a third
// keeps the stages in shared memory full with bulk copies. An operand of a stage is a tile of 16-bit elements
// for each of its parts (packing.h), and the products of parts that count are all made while they are there.
//
// A tile is made of boxes of 64 swizzled rows of 128 bytes: a row is a line's terms (Major::k), or a term's
// lines (Major::mn).
//
// With several parts, the sums of kChain terms are made by tensor cores and those added up by the threads, as
// in tensor_core_tile.h and for its reasons.
#pragma once

#include "cuda/kernels/tensor_core_tile.h"
#include "cuda/tensor_copy.h"
#include "cuda/wgmma.h"

namespace fastconv::cuda {

constexpr int kWarpgroupDepth = 64;

// T: Float16 or BFloat16. kMajor: of both operands.
template <class T, int kColumns, int kParts, Major kMajor>
struct WarpgroupTile {
  static constexpr bool kChained = kParts > 1;
  static constexpr int kChain = kTensorDepth;
  // Of two blocks, one multiplies while the other begins or ends. Chains need twice the registers, and
  // several parts twice the memory: there is one block then, and its producer a whole warpgroup, as only
  // these can give registers to others.
  static constexpr int kResidentBlocks = kChained ? 1 : 2;
  static constexpr int kConsumers = 2 * kWarpgroup, kProducers = kChained ? kWarpgroup : kWarp;
  static constexpr int kThreads = kConsumers + kProducers;

  static constexpr int kBoxBytes = kWarpgroupDepth * 128;
  static constexpr int kRowBytes = kTensorRows / 64 * kBoxBytes, kColumnBytes = kColumns / 64 * kBoxBytes;
  static constexpr int kStageBytes = kParts * (kRowBytes + kColumnBytes);
  static constexpr int kStagesThatFit = (kChained ? 224 : 110) * 1024 / kStageBytes;
  static constexpr int kStages = kStagesThatFit < 4 ? kStagesThatFit : 4;
  // Rows of the result lie in different banks, and so do most of what a warp's lanes write at once.
  static constexpr int kResultPitch = kColumns + 5;
  static_assert(kTensorRows * kResultPitch * sizeof(float) <= kStages * kStageBytes);
  static constexpr std::int64_t kBarriersAt = kStages * kStageBytes;
  static constexpr std::int64_t kSharedBytes = kBarriersAt + 2 * kStages * sizeof(Mbarrier);

  float sum[kColumns / 2];

  FASTCONV_DEVICE static unsigned char* stage_at(int stage) {
    return static_cast<unsigned char*>(shared_memory()) + stage * kStageBytes;
  }
  // Of a stage: what was copied has come, and nobody reads it any longer.
  FASTCONV_DEVICE static Mbarrier* full(int stage) {
    return reinterpret_cast<Mbarrier*>(static_cast<unsigned char*>(shared_memory()) + kBarriersAt) + stage;
  }
  FASTCONV_DEVICE static Mbarrier* empty(int stage) { return full(kStages + stage); }

  // By all threads of the block.
  FASTCONV_DEVICE static void begin() {
    if (thread_index() == 0) {
      for (int i = 0; i < kStages; ++i) {
        init_mbarrier(full(i), 1);
        init_mbarrier(empty(i), kConsumers / kWarp);
      }
      publish_mbarriers();
    }
    barrier();
  }

  FASTCONV_DEVICE static bool is_consumer() { return thread_index() < kConsumers; }
  FASTCONV_DEVICE static void become_consumer() {
    if constexpr (kChained) take_registers<232>();
  }
  FASTCONV_DEVICE static void become_producer() {
    if constexpr (kChained) keep_registers<40>();
  }

  // The turns of stages.
  struct Turns {
    int stage = 0, round = 0;  // round: odd or even
    FASTCONV_DEVICE void next() {
      if (++stage < kStages) return;
      stage = 0;
      round ^= 1;
    }
  };

  // By the producer's threads, of whom one works: source.copy(stage, barrier) starts the copies of the step
  // that comes next, kStageBytes in all.
  template <class MakeSource>
  FASTCONV_DEVICE static void produce(std::int64_t steps, const MakeSource& make_source) {
    if (thread_index() >= kConsumers + kWarp || !elected()) return;
    auto source = make_source();
    Turns turns;
    for (std::int64_t step = 0; step < steps; ++step) {
      wait_for_phase(empty(turns.stage), turns.round ^ 1);
      arrive_expecting(full(turns.stage), kStageBytes);
      source.copy(stage_at(turns.stage), full(turns.stage));
      turns.next();
    }
  }

  // By the consumers: sums over `steps` steps.
  FASTCONV_DEVICE void consume(std::int64_t steps) {
    Turns turns;
    if constexpr (kChained) {
      FASTCONV_UNROLL
      for (float& s : sum) s = 0;
      for (std::int64_t step = 0; step < steps; ++step) {
        wait_for_phase(full(turns.stage), turns.round);
        FASTCONV_UNROLL
        for (int term = 0; term < kWarpgroupDepth; term += kChain) {
          float chain[kColumns / 2];
          wgmma_fence();
          multiply<kChain>(stage_at(turns.stage), term, false, chain);
          wgmma_commit();
          wgmma_wait<0>(chain);
          FASTCONV_UNROLL
          for (int i = 0; i < kColumns / 2; ++i) sum[i] += chain[i];
        }
        release(turns.stage);
        turns.next();
      }
    } else {
      int before = 0;
      for (std::int64_t step = 0; step < steps; ++step) {
        wait_for_phase(full(turns.stage), turns.round);
        wgmma_fence();
        multiply<kWarpgroupDepth>(stage_at(turns.stage), 0, step > 0, sum);
        wgmma_commit();
        if (step > 0) {
          wgmma_wait<1>();  // for the step before
          release(before);
        }
        before = turns.stage;
        turns.next();
      }
      wgmma_wait<0>(sum);
    }
  }

  // Puts the consumers' sums into shared memory: row r's begin at r * kResultPitch.
  FASTCONV_DEVICE const float* result() const {
    barrier_of(kConsumersMeet, kConsumers);  // nobody reads a stage any longer
    auto* const memory = static_cast<float*>(shared_memory());
    const int warp = thread_index() / kWarp, lane = thread_index() % kWarp;
    FASTCONV_UNROLL
    for (int i = 0; i < kColumns / 2; ++i) {
      const int row = 16 * warp + lane / 4 + i / 2 % 2 * 8, column = i / 4 * 8 + lane % 4 * 2 + i % 2;
      memory[row * kResultPitch + column] = sum[i];
    }
    barrier_of(kConsumersMeet, kConsumers);
    return memory;
  }

 private:
  static constexpr int kConsumersMeet = 1;

  FASTCONV_DEVICE static void release(int stage) {
    if (elected()) arrive(empty(stage));
  }

  // d = or d += the products of a stage's kTerms terms from `term` on, small ones first.
  template <int kTerms>
  FASTCONV_DEVICE static void multiply(const unsigned char* stage, int term, bool adds,
                                       float (&d)[kColumns / 2]) {
    constexpr int kStep = 16, kTermBytes = kMajor == Major::k ? 2 : 128, kEightRows = 1024;
    stage += term * kTermBytes;
    const std::uint64_t rows =
        matrix_descriptor(stage + thread_index() / kWarpgroup * kBoxBytes, kBoxBytes, kEightRows);
    const std::uint64_t columns = matrix_descriptor(stage + kParts * kRowBytes, kBoxBytes, kEightRows);
    const auto add = [&](int step, int part, int other, bool first) {
      wgmma<T, kColumns, kMajor, kMajor>(d, advanced(rows, part * kRowBytes + step * kStep * kTermBytes),
                                         advanced(columns, other * kColumnBytes + step * kStep * kTermBytes),
                                         adds || !first);
    };
    FASTCONV_UNROLL
    for (int i = 0; i < kTerms / kStep; ++i) {
      FASTCONV_UNROLL
      for (int part = kParts - 1; part >= 0; --part) {
        FASTCONV_UNROLL
        for (int other = kParts - 1 - part; other >= (part == 0 ? 1 : 0); --other)
          add(i, part, other, i == 0 && part == kParts - 1);
      }
    }
    FASTCONV_UNROLL
    for (int i = 0; i < kTerms / kStep; ++i) add(i, 0, 0, i == 0 && kParts == 1);
  }
};

}  // namespace fastconv::cuda
