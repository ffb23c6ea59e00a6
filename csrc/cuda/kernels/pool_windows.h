// Pools whose windows a thread looks through by itself.
#pragma once

#include "cuda/kernels/pool_axis.h"
#include "cuda/kernels/pool_lanes.h"
#include "cuda/kernels/pool_operations.h"

namespace fastconv::cuda {

template <class Operation>
struct PoolArguments {
  LaneGrid grid;
  Windows windows;
  ImageView x, y;
  std::int64_t* indices;  // laid out as y; or null
  Operation operation;
  // From tap to tap: elements of x, and positions.
  std::int64_t pitch[kAxes], number_pitch[kAxes];

  PoolArguments(const LaneGrid& lane_grid, const PoolProblem& problem, const Operation& what,
                const ImageView& from, const ImageView& to, std::int64_t* positions)
      : grid(lane_grid), windows(problem), x(from), y(to), indices(positions), operation(what) {
    std::int64_t plane = 1;
    for (int i = kAxes - 1; i >= 0; --i) {
      pitch[i] = problem.axis[i].dilation * x.stride[i];
      number_pitch[i] = problem.axis[i].dilation * plane;
      plane *= problem.axis[i].input;
    }
  }
};

// One window: where its results belong, what it holds, and what divides its sum.
struct PoolWindow {
  std::int64_t y_offset, x_offset;
  std::int64_t number;  // of its first element
  std::int64_t divisor;
  Box box;

  template <class Operation>
  FASTCONV_DEVICE PoolWindow(const PoolArguments<Operation>& a, std::int64_t position)
      : y_offset(0), x_offset(0), number(0), divisor(1) {
    const WindowAxis(&axis)[kAxes] = a.windows.axis;
    const Quotient row = divide(position, axis[2].by_output), outer = divide(row.quotient, axis[1].by_output);
    const std::int64_t o[kAxes] = {outer.quotient, outer.remainder, row.remainder};
    FASTCONV_UNROLL
    for (int i = 0; i < kAxes; ++i) {
      box.tap[i] = axis[i].taps_of(o[i]);
      box.step[i] = axis[i].dilation;
      y_offset += o[i] * a.y.stride[i];
      x_offset += box.tap[i].first * a.x.stride[i];
      number = number * axis[i].input + box.tap[i].first;
      if (Operation::kDivides) divisor *= a.windows.divisor_of(i, o[i]);
    }
  }
};

// Elements that a thread loads at a time.
template <class S, bool kAdjacent>
constexpr int kBatch = kAdjacent || sizeof(S) > 2 ? 4 : 2;

// Adds up to `most` elements of a window to the states of a round's lanes. Index must hold the window's
// reach in x.
template <class S, bool kAdjacent, class Operation, class Index>
FASTCONV_DEVICE void add_elements(const PoolArguments<Operation>& a, const PoolWindow& window,
                                  const LaneReader<S, kAdjacent>& x, BoxWalk<Index>* walk, Index most,
                                  typename Operation::State (&state)[kLanes<S>]) {
  constexpr int kCount = kBatch<S, kAdjacent>;
  Packet<S, kLanes<S>> values[kCount];
  walk_in_batches<kCount>(
      walk, most, [&](const BoxWalk<Index>& at, int b) { values[b] = x(at.template offset<Index>(a.pitch)); },
      [&](const BoxWalk<Index>& at, int b) {
        const std::int64_t number =
            Operation::kNumbers ? window.number + at.template offset<std::int64_t>(a.number_pitch) : 0;
        FASTCONV_UNROLL
        for (int j = 0; j < kLanes<S>; ++j) a.operation.add(state[j], widened(values[b].lane[j]), number);
      });
}

// A round's results, from the states of its lanes.
template <class S, bool kAdjacent, class Operation>
FASTCONV_DEVICE void store_pooled(const PoolArguments<Operation>& a, const PoolWindow& window, bool empty,
                                  const LaneRounds& round,
                                  const typename Operation::State (&state)[kLanes<S>]) {
  using T = ComputeType<S>;
  const std::int64_t to = round.offset(a.y) + window.y_offset;
  const std::int64_t pitch = a.grid.lane_step.value * a.y.channel_stride;
  const auto divisor = static_cast<T>(window.divisor);
  Packet<S, kLanes<S>> results;
  FASTCONV_UNROLL
  for (int j = 0; j < kLanes<S>; ++j) results.lane[j] = narrowed<S>(a.operation.finish(state[j], divisor));
  store_lanes<kAdjacent>(a.y.data, to, pitch, round.live, results);
  if constexpr (Operation::kNumbers) {
    Packet<std::int64_t, kLanes<S>> numbers;
    FASTCONV_UNROLL
    for (int j = 0; j < kLanes<S>; ++j) numbers.lane[j] = empty ? -1 : state[j].number;
    store_lanes<kAdjacent>(a.indices, to, pitch, round.live, numbers);
  }
}

template <class S, class Operation, bool kAdjacent>
struct PoolWindowsKernel {
  using Arguments = PoolArguments<Operation>;
  static constexpr int kThreads = 256, kResidentBlocks = Operation::kPower ? kBlocksOfPowers : 0;

  FASTCONV_DEVICE static void run(const Arguments& a) {
    LaneRounds round = a.grid.of_thread(block_index() * kThreads + thread_index());
    const PoolWindow window(a, round.position);
    const BoxWalk<int> whole(window.box);
    const std::int64_t pitch = a.grid.lane_step.value * a.x.channel_stride;
    for (; round.rounds > 0; a.grid.advance(&round)) {
      const LaneReader<S, kAdjacent> x(a.x.data, round.offset(a.x) + window.x_offset, pitch, round.live);
      typename Operation::State state[kLanes<S>];
      for (auto& s : state) s = a.operation.start(window.number);
      BoxWalk<int> walk = whole;
      add_elements(a, window, x, &walk, whole.left(), state);
      store_pooled<S, kAdjacent>(a, window, whole.left() == 0, round, state);
    }
  }
};

}  // namespace fastconv::cuda
