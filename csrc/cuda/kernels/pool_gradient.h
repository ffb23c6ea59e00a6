// Gradients of means and p-norms, as sums over the windows that hold a position:
//
//   mean     dx = sum of w * dy, w = 1 / divisor
//   power    dx = sign(x) |x|^(p-1) * sum of w * dy / y^(p-1), and 0 where x or y is 0
#pragma once

#include "cuda/kernels/pool_axis.h"
#include "cuda/kernels/pool_lanes.h"
#include "cuda/kernels/pool_operations.h"

namespace fastconv::cuda {

// Index: of what the windows that hold a position count and reach.
template <class S, template <class> class Gradient, bool kAdjacent, class Index>
struct PoolGradientKernel {
  using T = ComputeType<S>;
  struct Arguments {
    LaneGrid grid;
    Windows windows;
    ImageView dy, dx;
    const void *y, *x;  // laid out as dy and dx: of a power
    Gradient<T> gradient;
    std::int64_t pitch[kAxes];  // of dy, from one window that holds a position to the next
    double common_divisor;      // of all windows; 0 where they differ
  };
  static constexpr int kThreads = 256, kResidentBlocks = Gradient<T>::kPower ? kBlocksOfPowers : 0;
  static constexpr int kCount = kLanes<S>, kBatch = 2;
  using Reader = LaneReader<S, kAdjacent>;

  FASTCONV_DEVICE static void run(const Arguments& a) {
    LaneRounds round = a.grid.of_thread(block_index() * kThreads + thread_index());
    const WindowAxis(&axis)[kAxes] = a.windows.axis;
    const Quotient row = divide(round.position, axis[2].by_input);
    const Quotient outer = divide(row.quotient, axis[1].by_input);
    const std::int64_t i[kAxes] = {outer.quotient, outer.remainder, row.remainder};
    Box readers;
    std::int64_t dx_offset = 0, dy_offset = 0;
    FASTCONV_UNROLL
    for (int k = 0; k < kAxes; ++k) {
      readers.tap[k] = axis[k].readers_of(i[k]);
      readers.step[k] = axis[k].step_of_readers;
      dx_offset += i[k] * a.dx.stride[k];
      dy_offset += readers.tap[k].first * a.dy.stride[k];
    }
    const BoxWalk<Index> whole(readers);
    const std::int64_t dy_pitch = a.grid.lane_step.value * a.dy.channel_stride;
    const std::int64_t dx_pitch = a.grid.lane_step.value * a.dx.channel_stride;
    const T scale = a.common_divisor != 0 ? T(1) / static_cast<T>(a.common_divisor) : T(1);
    for (; round.rounds > 0; a.grid.advance(&round)) {
      T sum[kCount] = {};
      add_readers(a, whole, round, round.offset(a.dy) + dy_offset, dy_pitch, sum);
      const std::int64_t to = round.offset(a.dx) + dx_offset;
      Packet<S, kCount> x = {};
      if constexpr (Gradient<T>::kPower) x = Reader(a.x, to, dx_pitch, round.live)(0);
      Packet<S, kCount> results;
      FASTCONV_UNROLL
      for (int j = 0; j < kCount; ++j)
        results.lane[j] = narrowed<S>(a.gradient.downstream(scale * sum[j], widened(x.lane[j])));
      store_lanes<kAdjacent>(a.dx.data, to, dx_pitch, round.live, results);
    }
  }

 private:
  FASTCONV_DEVICE static void add_readers(const Arguments& a, BoxWalk<Index> walk, const LaneRounds& round,
                                          std::int64_t from, std::int64_t pitch, T (&sum)[kCount]) {
    const Reader dy(a.dy.data, from, pitch, round.live);
    const Reader y(Gradient<T>::kPower ? a.y : a.dy.data, from, pitch, round.live);
    Packet<S, kCount> dy_values[kBatch], y_values[kBatch];
    walk_in_batches<kBatch>(
        &walk, walk.left(),
        [&](const BoxWalk<Index>& at, int b) {
          const Index offset = at.template offset<Index>(a.pitch);
          dy_values[b] = dy(offset);
          y_values[b] = Gradient<T>::kPower ? y(offset) : dy_values[b];
        },
        [&](const BoxWalk<Index>& at, int b) {
          const T weight = a.common_divisor != 0 ? T(1) : weight_of(a, at);
          FASTCONV_UNROLL
          for (int j = 0; j < kCount; ++j)
            sum[j] +=
                weight * a.gradient.upstream(widened(dy_values[b].lane[j]), widened(y_values[b].lane[j]));
        });
  }

  // Where the windows have one divisor, their sum is scaled in the end.
  FASTCONV_DEVICE static T weight_of(const Arguments& a, const BoxWalk<Index>& window) {
    std::int64_t divisor = 1;
    FASTCONV_UNROLL
    for (int k = 0; k < kAxes; ++k) divisor *= a.windows.divisor_of(k, window.position(k));
    return T(1) / static_cast<T>(divisor);
  }
};

}  // namespace fastconv::cuda
