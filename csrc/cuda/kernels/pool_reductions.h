// Pools whose windows are wide and few: `parts` threads share one, each taking every parts-th element, and
// their states meet in pairs, from the farthest threads to neighbours. Which elements are whose follows from
// the windows, the number of channels and the dtype.
#pragma once

#include "cuda/kernels/pool_windows.h"

namespace fastconv::cuda {

template <class Operation>
struct PoolReductionArguments : PoolArguments<Operation> {
  // Powers of two: neighbouring threads are `width` groups of channels, then come the parts of a window.
  int width, parts;
};

template <class S, class Operation, bool kAdjacent>
struct PoolReductionKernel {
  using Arguments = PoolReductionArguments<Operation>;
  using State = typename Operation::State;
  static constexpr int kThreads = 256, kResidentBlocks = Operation::kPower ? kBlocksOfPowers : 0;
  static constexpr int kCount = kLanes<S>;
  static constexpr std::int64_t kSharedBytes = kThreads * kCount * sizeof(State);
  static constexpr bool kSums = Operation::kDivides || Operation::kPower;  // else maxima: nothing rounds
  static constexpr std::int64_t kChain = 128;                              // additions to one sum

  FASTCONV_DEVICE static void run(const Arguments& a) {
    const int shared_by = a.width * a.parts, group = thread_index() % a.width;
    const int part = thread_index() % shared_by / a.width;
    const std::int64_t thread =
        (block_index() * (kThreads / shared_by) + thread_index() / shared_by) * a.width + group;
    const LaneRounds round = a.grid.of_thread(thread);
    const bool mine = round.rounds > 0 && round.live > 0;  // else here for the exchange alone
    const PoolWindow window(a, round.position);
    State state[kCount];
    for (auto& s : state) s = a.operation.start(kNoNumber);
    BoxWalk<std::int64_t> walk(window.box, part, a.parts);
    const bool empty = walk.left() == 0;  // told by part 0
    if (mine) look_through(a, window, round, &walk, state);
    for (int mask = shared_by / 2; mask >= a.width; mask /= 2) exchange(a.operation, mask, state);
    if (mine && part == 0) store_pooled<S, kAdjacent>(a, window, empty, round, state);
  }

 private:
  FASTCONV_DEVICE static void look_through(const Arguments& a, const PoolWindow& window,
                                           const LaneRounds& round, BoxWalk<std::int64_t>* walk,
                                           State (&state)[kCount]) {
    const std::int64_t pitch = a.grid.lane_step.value * a.x.channel_stride;
    const LaneReader<S, kAdjacent> x(a.x.data, round.offset(a.x) + window.x_offset, pitch, round.live);
    const auto start = [&](State(&states)[kCount]) {
      for (auto& s : states)
        s = a.operation.start(window.number + walk->template offset<std::int64_t>(a.number_pitch));
    };
    if constexpr (kSums) {
      while (walk->left() > 0) {
        State chain[kCount];
        start(chain);
        add_elements(a, window, x, walk, kChain, chain);
        for (int j = 0; j < kCount; ++j) state[j] = a.operation.merge(state[j], chain[j]);
      }
    } else if (walk->left() > 0) {
      start(state);
      add_elements(a, window, x, walk, walk->left(), state);
    }
  }

  // Each thread's states become those of it and the thread whose number differs by the bits of `mask`.
  FASTCONV_DEVICE static void exchange(const Operation& operation, int mask, State (&state)[kCount]) {
    if (mask < kWarp) {
      for (auto& s : state) s = operation.merge(s, operation.exchange(s, mask));
      return;
    }
    auto* const shared = static_cast<State*>(shared_memory());  // [lane][thread]
    for (int j = 0; j < kCount; ++j) shared[j * kThreads + thread_index()] = state[j];
    barrier();
    for (int j = 0; j < kCount; ++j)
      state[j] = operation.merge(state[j], shared[j * kThreads + (thread_index() ^ mask)]);
    barrier();
  }
};

}  // namespace fastconv::cuda
