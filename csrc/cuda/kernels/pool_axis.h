// The windows of core/pool_problem.h as kernels see them.
#pragma once

#include "core/pool_problem.h"
#include "cuda/kernels/divisor.h"

namespace fastconv::cuda {

FASTCONV_DEVICE std::int64_t divide_up(std::int64_t n, const Divisor& d) {
  return divide(n + d.value - 1, d).quotient;
}

struct WindowAxis : PoolAxis {
  std::int64_t step_of_readers;
  Divisor by_input, by_output, by_stride, by_dilation;

  explicit WindowAxis(const PoolAxis& axis)
      : PoolAxis(axis),
        step_of_readers(axis.reader_step()),
        by_input(axis.input),
        by_output(axis.output),
        by_stride(axis.stride),
        by_dilation(axis.dilation) {}

  FASTCONV_DEVICE Taps taps_of(std::int64_t o) const {
    if (adaptive) {
      const std::int64_t first = divide(o * input, by_output).quotient;
      return {first, divide_up((o + 1) * input, by_output) - first};
    }
    const std::int64_t start = o * stride - before;
    if (start >= 0 && start + (kernel - 1) * dilation < input) return {start, kernel};
    const std::int64_t skipped = start < 0 ? divide_up(-start, by_dilation) : 0;
    const std::int64_t last = start < input ? divide_up(input - start, by_dilation) : 0;
    const std::int64_t end = last < kernel ? last : kernel;
    return {start + skipped * dilation, end > skipped ? end - skipped : 0};
  }

  FASTCONV_DEVICE std::int64_t counted_of(std::int64_t o) const {
    if (adaptive) return taps_of(o).count;
    const std::int64_t most = divide_up(input + after + before - o * stride, by_dilation);
    return most < kernel ? most : kernel;
  }

  FASTCONV_DEVICE Taps readers_of(std::int64_t i) const {
    if (adaptive) {
      const std::int64_t first = divide(i * output, by_input).quotient;
      return {first, divide_up((i + 1) * output, by_input) - first};
    }
    const std::int64_t at = i + before, reach = (kernel - 1) * dilation;
    const std::int64_t latest = divide(at, by_stride).quotient, last = latest < output ? latest : output - 1;
    std::int64_t first = at > reach ? divide_up(at - reach, by_stride) : 0;
    if (dilation == 1) return {first, last < first ? 0 : last - first + 1};
    // Of neighbouring windows, as many as the step, one at most has a tap on i.
    std::int64_t left = step_of_readers;
    for (; left > 0 && first <= last; --left, ++first)
      if (divide(at - first * stride, by_dilation).remainder == 0) break;
    if (left == 0 || first > last) return {0, 0};
    return {first, (last - first) / step_of_readers + 1};
  }
};

struct Windows {
  WindowAxis axis[kAxes];
  bool count_include_pad;
  std::int64_t divisor_override;

  explicit Windows(const PoolProblem& problem)
      : axis{WindowAxis(problem.axis[0]), WindowAxis(problem.axis[1]), WindowAxis(problem.axis[2])},
        count_include_pad(problem.count_include_pad),
        divisor_override(problem.divisor_override) {}

  FASTCONV_DEVICE std::int64_t divisor_of(int i, std::int64_t o) const {
    if (divisor_override != 0) return i == 0 ? divisor_override : 1;
    const std::int64_t count = count_include_pad ? axis[i].counted_of(o) : axis[i].taps_of(o).count;
    return count > 1 ? count : 1;
  }
};

// What a window holds, or what holds a position: axis by axis tap[a].first, + step[a], ... The order is that
// of the plane.
struct Box {
  Taps tap[kAxes];
  std::int64_t step[kAxes];
};

// The elements of a box that are one thread's: number part, part + parts, ... They are found by steps along
// the axes, without divisions. Index: of all that a box counts, int where that is few.
template <class Index>
class BoxWalk {
 public:
  FASTCONV_DEVICE explicit BoxWalk(const Box& box, int part = 0, int parts = 1) : box_(box) {
    const auto rows = static_cast<Index>(box.tap[1].count), columns = static_cast<Index>(box.tap[2].count);
    const Index elements = static_cast<Index>(box.tap[0].count) * rows * columns;
    left_ = part < elements ? (elements - part - 1) / parts + 1 : 0;
    if (parts > 1 && left_ > 0) {
      split(part, columns, rows, at_);
      split(parts, columns, rows, step_);
    }
  }

  FASTCONV_DEVICE Index left() const { return left_; }
  // The present element in an array whose steps are `pitch` apart, from the box's first element.
  template <class Offset>
  FASTCONV_DEVICE Offset offset(const std::int64_t (&pitch)[kAxes]) const {
    return at_[0] * static_cast<Offset>(pitch[0]) + at_[1] * static_cast<Offset>(pitch[1]) +
           at_[2] * static_cast<Offset>(pitch[2]);
  }
  FASTCONV_DEVICE std::int64_t position(int i) const { return box_.tap[i].first + at_[i] * box_.step[i]; }
  FASTCONV_DEVICE void advance() {
    --left_;
    Index carry = 0;
    FASTCONV_UNROLL
    for (int i = kAxes - 1; i >= 0; --i) {
      const Index next = at_[i] + step_[i] + carry, beyond = next - static_cast<Index>(box_.tap[i].count);
      carry = i > 0 && beyond >= 0;
      at_[i] = carry ? beyond : next;
    }
  }

 private:
  // n is a number of threads: larger sizes all divide it alike.
  FASTCONV_DEVICE static void split(int n, Index columns, Index rows, Index (&at)[kAxes]) {
    constexpr Index kLarge = 1024;
    const int width = static_cast<int>(columns < kLarge ? columns : kLarge);
    const int height = static_cast<int>(rows < kLarge ? rows : kLarge);
    at[2] = n % width;
    at[1] = n / width % height;
    at[0] = n / width / height;
  }

  const Box& box_;
  Index left_, at_[kAxes] = {0, 0, 0}, step_[kAxes] = {0, 0, 1};
};

// Goes on by up to `most` elements, in batches, so that memory works on all of a batch at once: load(walk, b)
// for b < kBatch, then add(walk, b) with the walk as it was.
template <int kBatch, class Index, class Load, class Add>
FASTCONV_DEVICE void walk_in_batches(BoxWalk<Index>* walk, Index most, const Load& load, const Add& add) {
  for (Index left = walk->left() < most ? walk->left() : most; left > 0; left -= kBatch) {
    BoxWalk<Index> added = *walk;
    FASTCONV_UNROLL
    for (int b = 0; b < kBatch; ++b) {
      if (b >= left) continue;
      load(*walk, b);
      walk->advance();
    }
    FASTCONV_UNROLL
    for (int b = 0; b < kBatch; ++b) {
      if (b >= left) continue;
      add(added, b);
      added.advance();
    }
  }
}

}  // namespace fastconv::cuda
