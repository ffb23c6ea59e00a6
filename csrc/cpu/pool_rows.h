// Pools of small windows along contiguous rows: what lies under a row of windows is listed once for all planes.
#pragma once

#include <algorithm>
#include <vector>

#include "core/buffer_pool.h"
#include "core/integers.h"
#include "cpu/dispatch.h"
#include "cpu/pool.h"
#include "cpu/pool_tasks.h"

namespace fastconv::cpu {

// Planes that lie at one distance from each other: those of all images where that may be, else of each.
struct PlaneRuns {
  int64_t runs, planes;

  PlaneRuns(const ImageView& large, const ImageView& small) : runs(large.batch), planes(large.channels) {
    for (const ImageView* v : {&large, &small}) {
      if (runs > 1 && v->batch_stride != v->channels * v->channel_stride) return;
    }
    planes *= runs;
    runs = 1;
  }
};

class RowPool {
 public:
  static bool serves(const PoolProblem& problem) {
    constexpr int64_t kMostTaps = 8, kMostStride = 4;
    const PoolAxis& axis = problem.axis[2];
    return !axis.adaptive && axis.stride <= kMostStride && (axis.stride == 1 || axis.kernel <= kMostTaps);
  }

  RowPool(const PoolProblem& problem, PoolOperation operation, double p, const ImageView& x,
          const ImageView& y)
      : problem_(problem), mean_(operation == PoolOperation::mean), p_(p), x_(x), y_(y), runs_(x, y) {
    constexpr int64_t kGroup = 2048, kMostLines = 32;
    kernel_ = active_table().pool.rows[static_cast<int>(operation)][static_cast<int>(x.dtype)];
    const PoolAxis& axis = problem.axis[2];
    const int64_t reach = (axis.kernel - 1) * axis.dilation;
    columns_ = std::min(axis.output, std::max((kGroup - std::min(reach, kGroup)) / axis.stride, kLanes));
    pitch_ = round_up(columns_, kLanes) * axis.stride + reach;
    lines_ = std::clamp<int64_t>(kGroup / pitch_, 1, kMostLines);
    list_rows();
    if (mean_) list_divisors();
  }

  void run(int threads) const {
    constexpr double kElementsPerTask = 32768, kNsPerElement = 0.2;
    const double elements = pool_elements(problem_, x_);
    const int64_t blocks = ceil_div(problem_.axis[2].output, columns_);
    const int64_t rows = runs_.planes * static_cast<int64_t>(rows_.size());
    const double per_row = elements / static_cast<double>(runs_.runs * rows * blocks);
    const int64_t per_task = std::clamp(static_cast<int64_t>(kElementsPerTask / per_row), int64_t{1}, rows);
    const int64_t parts = ceil_div(rows, per_task), tasks = runs_.runs * parts * blocks;
    const int64_t item = size_of(compute_dtype(x_.dtype)), scratch = round_up(lines_ * pitch_ * item, 64);
    const Buffer memory(scratch * std::min<int64_t>(threads, tasks));
    parallel_for(tasks, elements * kNsPerElement, threads, [&](int64_t task, int worker) {
      const int64_t part = task / blocks % parts, begin = part * per_task;
      make(task / blocks / parts, begin, std::min(begin + per_task, rows), task % blocks * columns_,
           memory.as<char>() + worker * scratch);
    });
  }

 private:
  static constexpr int64_t kLanes = 16;  // most of any instruction set

  void list_rows() {
    const RowAxis outer = window_axis(problem_, 0), inner = window_axis(problem_, 1);
    const auto rows = static_cast<std::size_t>(problem_.axis[0].output * problem_.axis[1].output);
    rows_.reserve(rows);
    from_.reserve(rows * static_cast<std::size_t>(outer.most * inner.most));
    for (int64_t d = 0; d < problem_.axis[0].output; ++d) {
      for (int64_t h = 0; h < problem_.axis[1].output; ++h) {
        const Taps a = outer[d], b = inner[h];
        rows_.push_back({from_.data() + from_.size(), a.count * b.count,
                         outer.divisor_of(d) * inner.divisor_of(h), d * y_.stride[0] + h * y_.stride[1]});
        for (int64_t i = 0; i < a.count; ++i)
          for (int64_t j = 0; j < b.count; ++j)
            from_.push_back((a.first + i * outer.step) * x_.stride[0] +
                            (b.first + j * inner.step) * x_.stride[1]);
      }
    }
  }

  void list_divisors() {
    const int64_t windows = problem_.axis[2].output;
    divisors_ = Buffer(round_up(windows, kLanes) * size_of(compute_dtype(x_.dtype)));
    const Taps inner = problem_.axis[2].inner_windows();
    const int64_t inner_divisor = inner.count ? problem_.divisor(2, inner.first) : 0;
    for (int64_t o = 0; o < round_up(windows, kLanes); ++o) {
      const bool inside = o >= inner.first && o < inner.first + inner.count;
      const int64_t divisor = inside ? inner_divisor : o < windows ? problem_.divisor(2, o) : 1;
      store_scalar(divisors_.data(), x_.dtype, o, static_cast<double>(divisor));
    }
  }

  // Rows [begin, end) of one run's planes, from a column on.
  void make(int64_t run, int64_t begin, int64_t end, int64_t column, void* scratch) const {
    const PoolAxis& axis = problem_.axis[2];
    PoolRows r;
    r.x = element(x_.data, x_.dtype, run * x_.batch_stride);
    r.y = element(y_.data, y_.dtype, run * y_.batch_stride + column);
    r.x_plane = x_.channel_stride;
    r.y_plane = y_.channel_stride;
    r.rows = rows_.data();
    r.row_count = static_cast<int64_t>(rows_.size());
    r.begin = begin;
    r.end = end;
    r.start = column * axis.stride - axis.before;
    r.stride = axis.stride;
    r.step = axis.dilation;
    r.kernel = axis.kernel;
    r.input = axis.input;
    r.columns = std::min(columns_, axis.output - column);
    r.dense = columns_ == axis.output;
    r.divisor = mean_ ? element(divisors_.data(), compute_dtype(x_.dtype), column) : nullptr;
    r.p = p_;
    r.scratch = scratch;
    r.lines = lines_;
    r.pitch = pitch_;
    kernel_(r);
  }

  const PoolProblem& problem_;
  const bool mean_;
  const double p_;
  const ImageView x_, y_;
  const PlaneRuns runs_;
  void (*kernel_)(const PoolRows&);
  int64_t columns_, pitch_, lines_;  // columns of windows at a time; positions and number of lines
  std::vector<PoolRow> rows_;
  std::vector<int64_t> from_;
  Buffer divisors_;
};

}  // namespace fastconv::cpu
