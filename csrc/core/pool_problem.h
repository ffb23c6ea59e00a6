// Where the windows of a pool lie. Along one axis of `input` positions, window o of `output` holds
//
//   sliding     o * stride - before + t * dilation   for t < kernel, as far as these lie in [0, input)
//   adaptive    floor(o * input / output) up to, not including, ceil((o + 1) * input / output)
//
// Seen from the other side, position i is held by the windows readers(i): a gradient is a pool over those.
// Adaptive windows of one size and distance are turned into sliding ones, so that the word means irregular
// ones from here on.
#pragma once

#include <cstdint>
#include <string>

#include "core/padding.h"
#include "core/taps.h"
#include "core/tensor_view.h"

namespace fastconv {

struct PoolAxis {
  int64_t input = 1, output = 1;
  int64_t kernel = 1, stride = 1, dilation = 1, before = 0, after = 0;  // sliding windows
  bool adaptive = false;

  // The input positions of window o, `dilation` apart.
  Taps taps(int64_t o) const;
  // Sliding: the number, within window o, of the first of them.
  int64_t first_tap(int64_t o) const { return (taps(o).first - (o * stride - before)) / dilation; }
  // How many of the window's taps lie in the input or in its padding: not those that ceil_mode adds beyond.
  int64_t counted(int64_t o) const;
  // Whether some window holds nothing but padding.
  bool leaves_empty() const;
  // Windows [first, first + count) lie in the input with all their taps.
  Taps inner_windows() const;
  // The windows that hold input position i, `reader_step` apart.
  Taps readers(int64_t i) const;
  int64_t reader_step() const;
  // A range of windows, without step, that has all readers of positions [begin, end).
  Taps reader_range(int64_t begin, int64_t end) const;
  // Positions [begin, end) as runs; at most one for each position.
  void reader_runs(int64_t begin, int64_t end, ReaderRun* runs) const;
  // One window, of the whole axis and nothing else.
  bool whole() const;
};

// Positions of a plane that the indices of maxima can tell apart: kernels may count them in 30 bits.
constexpr int64_t kMostIndexedPositions = int64_t{1} << 30;

struct PoolProblem {
  PoolAxis axis[kAxes];
  bool count_include_pad = true;
  int64_t divisor_override = 0;  // 0: the windows' own sizes divide

  int64_t windows() const;    // in a plane
  int64_t positions() const;  // in a plane
  // What a window's sum is divided by is divisor(0, o0) * divisor(1, o1) * divisor(2, o2), never 0.
  int64_t divisor(int i, int64_t o) const;
};

// The arguments of a call, the last `rank` axes counting. Both throw std::invalid_argument, which begins with
// `function`.
PoolProblem sliding_pool(const std::string& function, int rank, const int64_t (&input)[kAxes],
                         const int64_t (&kernel)[kAxes], const int64_t (&stride)[kAxes],
                         const PaddingSpec& padding, const int64_t (&dilation)[kAxes], bool ceil_mode);
PoolProblem adaptive_pool(const std::string& function, const int64_t (&input)[kAxes],
                          const int64_t (&output)[kAxes]);

// Where every axis is whole(): the same windows side by side in a row of `planes` planes.
PoolProblem flattened(const PoolProblem& problem, int64_t planes);

}  // namespace fastconv
