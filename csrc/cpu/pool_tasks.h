// How pools are cut into tasks: rows of all planes, and of long rows or many channels a part each.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/buffer_pool.h"
#include "core/pool_problem.h"
#include "core/taps.h"
#include "core/tensor_view.h"
#include "cpu/parallel.h"

namespace fastconv::cpu {

// One worker's parts of a block of scratch memory, each on cache lines of its own.
class ScratchLayout {
 public:
  int64_t add(int64_t bytes) {
    const int64_t at = bytes_;
    bytes_ += (bytes + 63) / 64 * 64;
    return at;
  }
  int64_t bytes() const { return bytes_; }

 private:
  int64_t bytes_ = 0;
};

// Part of row (outer, inner) of one plane: (image, channel), or the whole image where channels are lanes.
struct RowPart {
  int64_t image, channel, outer, inner;
  int64_t column, columns;  // first one and number
  int64_t lane, lanes;
};

struct RowTasks {
  int64_t images, channels, outer, inner, columns, lanes;  // sizes; channels or lanes is 1
  int64_t column_block, lane_block = 0, rows_per_task = 0;

  // `elements` that the whole call touches set the size of a task.
  RowTasks(const ImageView& v, bool channels_in_lanes, const int64_t (&size)[kAxes], int64_t column_block_,
           double elements, int threads)
      : images(v.batch),
        channels(channels_in_lanes ? 1 : v.channels),
        outer(size[0]),
        inner(size[1]),
        columns(size[2]),
        lanes(channels_in_lanes ? v.channels : 1),
        column_block(column_block_) {
    constexpr double kElementsPerTask = 32768;
    constexpr int64_t kLeastLanes = 64;
    const int64_t row_blocks = rows() * column_blocks();
    lane_block = lanes;
    const int64_t wanted = kTasksPerThread * threads;
    if (row_blocks < wanted && lanes > kLeastLanes) {
      const int64_t parts = (wanted + row_blocks - 1) / row_blocks, share = (lanes + parts - 1) / parts;
      lane_block = (share + kLeastLanes - 1) / kLeastLanes * kLeastLanes;
    }
    const double per_row = elements / static_cast<double>(row_blocks * lane_blocks());
    rows_per_task = std::max<int64_t>(1, static_cast<int64_t>(kElementsPerTask / std::max(per_row, 1.0)));
  }

  int64_t rows() const { return images * channels * outer * inner; }
  int64_t column_blocks() const { return (columns + column_block - 1) / column_block; }
  int64_t lane_blocks() const { return (lanes + lane_block - 1) / lane_block; }

  // Lists all rows, where they are one task's: prepare(part) is called once, then add_line(part, i) for each.
  template <class Prepare, class AddLine>
  void list(const Prepare& prepare, const AddLine& add_line) const {
    RowPart part = whole();
    prepare(part);
    for (int64_t i = 0; i < rows(); ++i, advance(part)) add_line(part, i);
  }
  RowPart whole() const { return first_part(0, 0); }

  // prepare(part, scratch) is called once a task with its columns and lanes; then, for up to `lines` rows at
  // a time, add_line(part, scratch, i) for each of them and make(part, scratch, count).
  template <class Prepare, class AddLine, class Make>
  void run(const ScratchLayout& layout, int64_t lines, double elements, int threads, const Prepare& prepare,
           const AddLine& add_line, const Make& make) const {
    constexpr double kNsPerElement = 0.25;  // one core, data in cache
    const int64_t all = rows(), row_tasks = (all + rows_per_task - 1) / rows_per_task;
    const int64_t tasks = row_tasks * column_blocks() * lane_blocks();
    const Buffer memory(layout.bytes() * std::min<int64_t>(threads, tasks));
    parallel_for(tasks, elements * kNsPerElement, threads, [&](int64_t task, int worker) {
      char* scratch = memory.as<char>() + worker * layout.bytes();
      RowPart part = first_part(task % row_tasks * rows_per_task, task / row_tasks);
      prepare(part, scratch);
      int64_t left = std::min(rows_per_task, all - task % row_tasks * rows_per_task);
      while (left > 0) {
        const int64_t count = std::min(left, lines);
        for (int64_t i = 0; i < count; ++i, advance(part)) add_line(part, scratch, i);
        make(part, scratch, count);
        left -= count;
      }
    });
  }

 private:
  RowPart first_part(int64_t row, int64_t block) const {
    RowPart part;
    part.inner = row % inner;
    part.outer = row / inner % outer;
    part.channel = row / (inner * outer) % channels;
    part.image = row / (inner * outer * channels);
    part.column = block % column_blocks() * column_block;
    part.columns = std::min(column_block, columns - part.column);
    part.lane = block / column_blocks() * lane_block;
    part.lanes = std::min(lane_block, lanes - part.lane);
    return part;
  }

  void advance(RowPart& part) const {
    if (++part.inner < inner) return;
    part.inner = 0;
    if (++part.outer < outer) return;
    part.outer = 0;
    if (++part.channel < channels) return;
    part.channel = 0;
    ++part.image;
  }
};

// Where the planes and lanes of a part begin.
inline int64_t plane_offset(const ImageView& v, const RowPart& part) {
  return part.image * v.batch_stride + (part.channel + part.lane) * v.channel_stride;
}

inline double pool_elements(const PoolProblem& problem, const ImageView& v) {
  return static_cast<double>(v.batch * v.channels) *
         static_cast<double>(problem.positions() + problem.windows());
}

// Element i of a table in the compute type of `t`.
inline void store_scalar(void* table, Dtype t, int64_t i, double value) {
  if (t == Dtype::float64) {
    static_cast<double*>(table)[i] = value;
  } else {
    static_cast<float*>(table)[i] = static_cast<float>(value);
  }
}

// Each plane under one window: planes are laid out flat then, and side by side in one row where that may be,
// so that small planes need no call each. Anything else stays as it is.
struct FlatPlanes {
  PoolProblem problem;
  ImageView large, small;

  FlatPlanes(const PoolProblem& given, const ImageView& large_, const ImageView& small_, bool lanes,
             bool side_by_side)
      : problem(given), large(large_), small(small_) {
    const int64_t positions = given.positions(), column = large.stride[2];
    const bool whole = given.axis[0].whole() && given.axis[1].whole() && given.axis[2].whole();
    const bool dense = (large.size[1] == 1 || large.stride[1] == large.size[2] * column) &&
                       (large.size[0] == 1 || large.stride[0] == large.size[1] * large.size[2] * column);
    if (!whole || !dense) return;
    const bool neighbours = !lanes && side_by_side && column == 1 &&
                            (large.channels == 1 || large.channel_stride == positions) &&
                            (large.batch == 1 || large.batch_stride == positions * large.channels);
    const int64_t planes = neighbours ? large.batch * large.channels : 1;
    problem = flattened(given, planes);
    for (int i = 0; i < 2; ++i) large.size[i] = small.size[i] = 1;
    large.size[2] = planes * positions;
    small.size[2] = planes;
    if (!neighbours) return;
    for (ImageView* v : {&large, &small}) {
      v->batch = v->channels = 1;
      v->stride[2] = 1;
    }
  }
};

// Rows that a kernel gets at a time: enough that short ones fill its vectors, few enough to stay in L1.
inline int64_t lines_at_once(int64_t positions, int64_t rows_each) {
  constexpr int64_t kPositions = 4096, kMostLines = 32, kMostRows = 4096;
  return std::max<int64_t>(
      1, std::min({kMostLines, kPositions / positions, kMostRows / std::max<int64_t>(rows_each, 1)}));
}

// What the outer two axes of a pool share among all planes: the rows under each row of windows (or, for a
// gradient, the rows of windows over each row), and what divides their sums.
struct RowAxis {
  std::vector<Taps> taps;
  std::vector<double> divisor;
  int64_t step, most = 0;

  template <class TapsOf, class DivisorOf>
  RowAxis(int64_t count, int64_t step_, int64_t divisors, const TapsOf& taps_of, const DivisorOf& divisor_of)
      : step(step_) {
    taps.reserve(static_cast<std::size_t>(count));
    divisor.reserve(static_cast<std::size_t>(divisors));
    for (int64_t i = 0; i < count; ++i) {
      taps.push_back(taps_of(i));
      most = std::max(most, taps.back().count);
    }
    for (int64_t o = 0; o < divisors; ++o) divisor.push_back(static_cast<double>(divisor_of(o)));
  }
  Taps operator[](int64_t i) const { return taps[static_cast<std::size_t>(i)]; }
  double divisor_of(int64_t o) const { return divisor[static_cast<std::size_t>(o)]; }
};

inline RowAxis window_axis(const PoolProblem& problem, int i) {
  const PoolAxis& axis = problem.axis[i];
  return RowAxis(
      axis.output, axis.dilation, axis.output, [&](int64_t o) { return axis.taps(o); },
      [&](int64_t o) { return problem.divisor(i, o); });
}

}  // namespace fastconv::cpu
