// Pools of small windows along contiguous rows, and gradients of such: what lies under a row is listed once
// for all planes.
#pragma once

#include <algorithm>
#include <limits>
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

constexpr int64_t kWidestVector = 16;  // lanes, in any instruction set

// A group of lines that stays in L1, and how the rows of all planes and blocks of their columns become tasks.
struct RowGroups {
  int64_t columns;  // of a block
  int64_t pitch = 0, lines = 0, bytes = 0;

  // Each column of a block takes `step` positions of a line.
  RowGroups(int64_t all_columns, int64_t step, int64_t reach)
      : columns(std::min(all_columns, std::max((kGroup - std::min(reach, kGroup)) / step, kWidestVector))) {}

  void set_pitch(int64_t positions, Dtype type) {
    constexpr int64_t kMostLines = 32;
    pitch = positions;
    lines = std::clamp<int64_t>(kGroup / pitch, 1, kMostLines);
    bytes = round_up(lines * pitch * size_of(compute_dtype(type)), 64);
  }

  // make(run, begin, end, first column, scratch) for rows [begin, end) of one run's planes.
  template <class Make>
  void run(const PlaneRuns& planes, int64_t rows_of_plane, int64_t all_columns, double elements, int threads,
           const Make& make) const {
    constexpr double kElementsPerTask = 32768, kNsPerElement = 0.2;
    const int64_t blocks = ceil_div(all_columns, columns), rows = planes.planes * rows_of_plane;
    const double per_row = elements / static_cast<double>(planes.runs * rows * blocks);
    const int64_t per_task = std::clamp(static_cast<int64_t>(kElementsPerTask / per_row), int64_t{1}, rows);
    const int64_t parts = ceil_div(rows, per_task), tasks = planes.runs * parts * blocks;
    const Buffer memory(bytes * std::min<int64_t>(threads, tasks));
    parallel_for(tasks, elements * kNsPerElement, threads, [&](int64_t task, int worker) {
      const int64_t begin = task / blocks % parts * per_task;
      make(task / blocks / parts, begin, std::min(begin + per_task, rows), task % blocks * columns,
           memory.as<char>() + worker * bytes);
    });
  }

 private:
  static constexpr int64_t kGroup = 2048;
};

// value(o) of all windows o of an axis, and `rest` for a vector more, in the compute type of `type`.
template <class Value>
Buffer column_table(const PoolAxis& axis, Dtype type, double rest, const Value& value) {
  const int64_t size = axis.output + kWidestVector;
  Buffer table(size * size_of(compute_dtype(type)));
  const Taps inner = axis.inner_windows();
  const double inner_value = inner.count ? value(inner.first) : rest;
  for (int64_t o = 0; o < size; ++o) {
    const bool inside = o >= inner.first && o < inner.first + inner.count;
    store_scalar(table.data(), type, o, inside ? inner_value : o < axis.output ? value(o) : rest);
  }
  return table;
}

// Whether the lists of what lies under each row stay small beside the planes: tall windows over many rows
// would take a list of their product.
inline bool short_lists(const PoolProblem& problem) {
  constexpr double kMostEntries = 1 << 20;
  double entries = 1;
  for (int i = 0; i < 2; ++i) {
    const PoolAxis& axis = problem.axis[i];
    entries *= static_cast<double>(std::max(axis.output, axis.input)) * static_cast<double>(axis.kernel);
  }
  return entries <= kMostEntries;
}

class RowPool {
 public:
  static bool serves(const PoolProblem& problem) {
    constexpr int64_t kMostTaps = 8;
    const PoolAxis& axis = problem.axis[2];
    return short_lists(problem) && !axis.adaptive && axis.stride <= kMostRowStride &&
           (axis.stride == 1 || axis.kernel <= kMostTaps);
  }

  // taps: of maxima, laid out as y, or null.
  RowPool(const PoolProblem& problem, PoolOperation operation, double p, const ImageView& x,
          const ImageView& y, std::uint8_t* taps)
      : problem_(problem),
        mean_(operation == PoolOperation::mean),
        scaled_(mean_ && powers_of_two(problem)),
        p_(p),
        x_(x),
        y_(y),
        taps_(taps),
        planes_(x, y),
        kernel_(active_table().pool.rows[static_cast<int>(operation)][static_cast<int>(x.dtype)]),
        groups_(problem.axis[2].output, problem.axis[2].stride, reach()) {
    groups_.set_pitch(round_up(groups_.columns, kWidestVector) * problem.axis[2].stride + reach(), x.dtype);
    list_rows();
    if (mean_) {
      divisors_ = column_table(problem.axis[2], x.dtype, 1, [&](int64_t o) {
        return divisor(static_cast<double>(problem.divisor(2, o)));
      });
    }
  }

  void run(int threads) const {
    groups_.run(planes_, static_cast<int64_t>(rows_.size()), problem_.axis[2].output,
                pool_elements(problem_, x_), threads,
                [&](int64_t run, int64_t begin, int64_t end, int64_t column, void* scratch) {
                  make(run, begin, end, column, scratch);
                });
  }

 private:
  int64_t reach() const { return (problem_.axis[2].kernel - 1) * problem_.axis[2].dilation; }

  static bool powers_of_two(const PoolProblem& problem) {
    for (int i = 0; i < kAxes; ++i) {
      for (int64_t o = 0; o < problem.axis[i].output; ++o) {
        const int64_t divisor = problem.divisor(i, o);
        if ((divisor & (divisor - 1)) != 0) return false;
      }
    }
    return true;
  }
  double divisor(double d) const { return scaled_ ? 1 / d : d; }

  void list_rows() {
    const RowAxis outer = window_axis(problem_, 0), inner = window_axis(problem_, 1);
    const auto rows = static_cast<std::size_t>(problem_.axis[0].output * problem_.axis[1].output);
    rows_.reserve(rows);
    from_.reserve(rows * static_cast<std::size_t>(outer.most * inner.most));
    if (taps_) numbers_.reserve(from_.capacity());
    for (int64_t d = 0; d < problem_.axis[0].output; ++d) {
      for (int64_t h = 0; h < problem_.axis[1].output; ++h) {
        const Taps a = outer[d], b = inner[h];
        rows_.push_back({from_.data() + from_.size(), numbers_.data() + numbers_.size(), a.count * b.count,
                         divisor(outer.divisor_of(d) * inner.divisor_of(h)),
                         d * y_.stride[0] + h * y_.stride[1]});
        for (int64_t i = 0; i < a.count; ++i)
          for (int64_t j = 0; j < b.count; ++j)
            from_.push_back((a.first + i * outer.step) * x_.stride[0] +
                            (b.first + j * inner.step) * x_.stride[1]);
        if (taps_) number_taps(d, h, a.count, b.count);
      }
    }
  }

  void number_taps(int64_t d, int64_t h, int64_t outer, int64_t inner) {
    const PoolAxis* axis = problem_.axis;
    const int64_t first[2] = {axis[0].first_tap(d), axis[1].first_tap(h)};
    for (int64_t i = 0; i < outer; ++i)
      for (int64_t j = 0; j < inner; ++j)
        numbers_.push_back(((first[0] + i) * axis[1].kernel + first[1] + j) * axis[2].kernel);
  }

  // Elements of a run of planes, from its first one to its last in memory; none where some lie before the
  // first.
  int64_t readable() const {
    int64_t last = (planes_.planes - 1) * x_.channel_stride;
    bool rising = last >= 0;
    for (int i = 0; i < kAxes; ++i) {
      last += (x_.size[i] - 1) * x_.stride[i];
      rising = rising && (x_.size[i] == 1 || x_.stride[i] > 0);
    }
    return rising ? last + 1 : std::numeric_limits<int64_t>::min();
  }

  void make(int64_t run, int64_t begin, int64_t end, int64_t column, void* scratch) const {
    const PoolAxis& axis = problem_.axis[2];
    PoolRows r;
    r.x = element(x_.data, x_.dtype, run * x_.batch_stride);
    r.y = element(y_.data, y_.dtype, run * y_.batch_stride + column);
    r.from_plane = x_.channel_stride;
    r.to_plane = y_.channel_stride;
    r.rows = rows_.data();
    r.row_count = static_cast<int64_t>(rows_.size());
    r.begin = begin;
    r.end = end;
    r.start = column * axis.stride - axis.before;
    r.stride = axis.stride;
    r.step = axis.dilation;
    r.kernel = axis.kernel;
    r.input = axis.input;
    r.columns = std::min(groups_.columns, axis.output - column);
    r.readable = readable();
    r.dense = groups_.columns == axis.output;
    r.divisor = mean_ ? element(divisors_.data(), compute_dtype(x_.dtype), column) : nullptr;
    r.scaled = scaled_;
    r.p = p_;
    r.scratch = scratch;
    r.lines = groups_.lines;
    r.pitch = groups_.pitch;
    kernel_(r);
    if (!taps_) return;
    r.taps = taps_ + run * y_.batch_stride + column;
    active_table().pool.find_taps[static_cast<int>(x_.dtype)](r);
  }

  const PoolProblem& problem_;
  const bool mean_, scaled_;
  const double p_;
  const ImageView x_, y_;
  std::uint8_t* const taps_;
  const PlaneRuns planes_;
  void (*const kernel_)(const PoolRows&);
  RowGroups groups_;
  std::vector<PoolRow> rows_;
  std::vector<int64_t> from_, numbers_;
  Buffer divisors_;
};

// The gradients of means and p-norms.
class RowPoolGradient {
 public:
  static bool serves(const PoolProblem& problem) {
    const PoolAxis& axis = problem.axis[2];
    return short_lists(problem) && !axis.adaptive &&
           (axis.stride == 1 || (axis.stride == 2 && axis.dilation == 1));
  }

  RowPoolGradient(const PoolProblem& problem, PoolOperation operation, double p, const ImageView& dy,
                  const ImageView& dx)
      : problem_(problem),
        p_(p),
        dy_(dy),
        dx_(dx),
        planes_(dx, dy),
        kernel_(
            active_table().pool.gradient_rows[operation == PoolOperation::power][static_cast<int>(dx.dtype)]),
        groups_(problem.axis[2].input, 1, reach()),
        weights_(column_table(problem.axis[2], dx.dtype, 0, [&](int64_t o) { return weight(2, o); })) {
    groups_.set_pitch(
        round_up(ceil_div(groups_.columns, problem.axis[2].stride), kWidestVector) + reach() + 2, dx.dtype);
    list_rows();
  }

  // x and y: of a power.
  void run(const void* x, const void* y, int threads) const {
    groups_.run(planes_, static_cast<int64_t>(rows_.size()), problem_.axis[2].input,
                pool_elements(problem_, dx_), threads,
                [&](int64_t run, int64_t begin, int64_t end, int64_t column, void* scratch) {
                  PoolGradientRows r = part(column);
                  const int64_t from = run * dy_.batch_stride, to = run * dx_.batch_stride + column;
                  r.dy = element(dy_.data, dy_.dtype, from);
                  r.y = y ? element(y, dy_.dtype, from) : nullptr;
                  r.x = x ? element(x, dx_.dtype, to) : nullptr;
                  r.dx = element(dx_.data, dx_.dtype, to);
                  r.begin = begin;
                  r.end = end;
                  r.scratch = scratch;
                  kernel_(r);
                });
  }

 private:
  // In windows.
  int64_t reach() const {
    const PoolAxis& axis = problem_.axis[2];
    return (axis.kernel - 1) * axis.dilation / axis.stride;
  }
  double weight(int i, int64_t o) const { return 1.0 / static_cast<double>(problem_.divisor(i, o)); }

  void list_rows() {
    const PoolAxis *outer = &problem_.axis[0], *inner = &problem_.axis[1];
    const auto rows = static_cast<std::size_t>(outer->input * inner->input);
    std::vector<Taps> readers;
    std::size_t most = 0;
    for (int64_t h = 0; h < inner->input; ++h) readers.push_back(inner->readers(h));
    for (const Taps& t : readers) most += static_cast<std::size_t>(t.count);
    std::size_t all = 0;
    for (int64_t d = 0; d < outer->input; ++d)
      all += static_cast<std::size_t>(outer->readers(d).count) * most;
    rows_.reserve(rows);
    from_.reserve(all);
    row_weights_.reserve(all);
    for (int64_t d = 0; d < outer->input; ++d) {
      const Taps a = outer->readers(d);
      for (int64_t h = 0; h < inner->input; ++h) {
        const Taps b = readers[static_cast<std::size_t>(h)];
        rows_.push_back({from_.data() + from_.size(), row_weights_.data() + row_weights_.size(),
                         a.count * b.count, d * dx_.stride[0] + h * dx_.stride[1]});
        for (int64_t i = 0, o = a.first; i < a.count; ++i, o += outer->reader_step()) {
          for (int64_t j = 0, q = b.first; j < b.count; ++j, q += inner->reader_step()) {
            from_.push_back(o * dy_.stride[0] + q * dy_.stride[1]);
            row_weights_.push_back(weight(0, o) * weight(1, q));
          }
        }
      }
    }
  }

  PoolGradientRows part(int64_t column) const {
    const PoolAxis& axis = problem_.axis[2];
    PoolGradientRows r;
    r.from_plane = dy_.channel_stride;
    r.to_plane = dx_.channel_stride;
    r.rows = rows_.data();
    r.row_count = static_cast<int64_t>(rows_.size());
    r.columns = std::min(groups_.columns, axis.input - column);
    r.start = column + axis.before;
    r.stride = axis.stride;
    r.kernel = axis.kernel;
    r.dilation = axis.dilation;
    r.low = r.start / axis.stride - reach();
    const Taps range = axis.reader_range(column, column + r.columns);
    r.windows = range.count;
    r.first_window = range.count ? range.first : r.low;
    r.column_weight = element(weights_.data(), compute_dtype(dx_.dtype), range.first);
    r.dense = groups_.columns == axis.input;
    r.p = p_;
    r.lines = groups_.lines;
    r.pitch = groups_.pitch;
    return r;
  }

  const PoolProblem& problem_;
  const double p_;
  const ImageView dy_, dx_;
  const PlaneRuns planes_;
  void (*const kernel_)(const PoolGradientRows&);
  RowGroups groups_;
  const Buffer weights_;
  std::vector<PoolGradientRow> rows_;
  std::vector<int64_t> from_;
  std::vector<double> row_weights_;
};

}  // namespace fastconv::cpu
