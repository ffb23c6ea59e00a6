#include "cpu/pool.h"

#include "cpu/dispatch.h"
#include "cpu/pool_rows.h"
#include "cpu/pool_tasks.h"
#include "cpu/pool_turned.h"

namespace fastconv::cpu {
namespace {

constexpr int64_t kMostLanes = 16;
constexpr int64_t kLinePositions = 4096;  // of a line that stays in L1

enum class Walk { sliding, window, lanes };

// Windows at a time: where they are irregular, or so wide and so little overlapping that a line's deals gain
// nothing.
Walk choose_walk(const PoolAxis& axis, bool lanes) {
  constexpr int64_t kWide = 32;
  if (lanes) return Walk::lanes;
  if (axis.adaptive) return Walk::window;
  const bool apart = axis.stride >= kWide || (axis.kernel >= kWide && 2 * axis.stride >= axis.kernel);
  return axis.dilation == 1 && (apart || axis.output == 1) ? Walk::window : Walk::sliding;
}

int64_t column_block(const PoolAxis& axis, Walk walk) {
  const int64_t reach = (axis.kernel - 1) * axis.dilation;
  int64_t block = 1024;
  if (walk == Walk::window)
    block = 8 * kLinePositions / (axis.adaptive ? axis.input / axis.output + 1 : axis.kernel);
  if (walk == Walk::sliding) block = (kLinePositions - std::min(reach, kLinePositions)) / axis.stride;
  return std::min(axis.output, std::max(block, kMostLanes));
}

// Bytes of what slide_lines() in kernels/pool_sliding.h lays out: offsets, lines and deals, with the rows of
// their maxima, and results.
int64_t sliding_scratch(const PoolAxis& axis, int64_t columns, int64_t lines, int64_t item) {
  const int64_t reach = (axis.kernel - 1) * axis.dilation, windows = columns + reach / axis.stride;
  const int64_t deals = std::max<int64_t>(4, std::min(axis.stride, reach + 1));
  const int64_t line = lines * windows * axis.stride + kMostLanes, pitch = lines * windows + kMostLanes;
  return axis.kernel * 8 + item * (2 * line + (2 * deals + 3) * pitch);
}

bool in_lanes(const ImageView& v, bool channels_last) { return channels_last && v.channels > 1; }

struct PoolData {
  const void* x;
  void* y;
  int64_t* indices;    // of maxima, or null
  std::uint8_t* taps;  // the same, in lanes
};

// What numbers tell the elements of windows apart.
enum class Numbers { positions, taps };

// x and y lend their sizes and strides; their data come with the call. `all_lines`: listed at once.
class Pool {
 public:
  Pool(const PoolProblem& problem, PoolOperation operation, double p, Numbers numbers, const ImageView& x,
       const ImageView& y, bool lanes, bool all_lines, int threads)
      : problem_(problem),
        operation_(operation),
        p_(p),
        numbers_(numbers),
        x_(x),
        y_(y),
        item_(size_of(x.dtype)),
        walk_(choose_walk(problem.axis[2], lanes)),
        kernel_(choose_kernel()),
        axes_{window_axis(problem, 0), window_axis(problem, 1)},
        tasks_(x, lanes, {problem.axis[0].output, problem.axis[1].output, problem.axis[2].output},
               column_block(problem.axis[2], walk_), pool_elements(problem, x), threads) {
    const int64_t item = size_of(compute_dtype(x.dtype)), columns = tasks_.column_block;
    const PoolAxis& axis = problem.axis[2];
    most_rows_ = axes_[0].most * axes_[1].most;
    const int64_t positions =
        walk_ == Walk::sliding ? (columns - 1) * axis.stride + (axis.kernel - 1) * axis.dilation + 1 : 128;
    lines_ = all_lines ? tasks_.rows() : lines_at_once(positions, most_rows_);
    lines_at_ = layout_.add(lines_ * static_cast<int64_t>(sizeof(PoolLine)));
    rows_at_ = layout_.add(lines_ * most_rows_ * 8);
    row_numbers_at_ = layout_.add(lines_ * most_rows_ * 8);
    numbers_at_ = layout_.add(walk_ == Walk::lanes ? columns * 8 : 0);
    taps_at_ = layout_.add(walk_ == Walk::sliding ? 0 : columns * static_cast<int64_t>(sizeof(Taps)));
    divisors_at_ = layout_.add(columns * item);
    scratch_at_ = layout_.add(walk_ == Walk::sliding ? sliding_scratch(axis, columns, lines_, item) : 0);
  }

  void run(const PoolData& data, int threads) const {
    tasks_.run(
        layout_, lines_, pool_elements(problem_, x_), threads,
        [&](const RowPart& part, char* scratch) { prepare(part, scratch); },
        [&](const RowPart& part, char* scratch, int64_t i) { add_line(data, part, scratch, i); },
        [&](const RowPart& part, char* scratch, int64_t count) { make(part, scratch, count); });
  }

  // The same for planes of lanes in each worker's memory: one image of all lanes, whose lines are listed
  // once.
  template <class Number>
  void run_turned(const TurnedPlanes& planes, Number* indices, double elements) const {
    planes.run(
        indices, layout_.bytes(), elements,
        [&](const TurnedMemory& m) {
          tasks_.list([&](const RowPart& part) { prepare(part, m.tables); },
                      [&](const RowPart& part, int64_t i) {
                        add_line({m.in[0], m.out, m.indices, nullptr}, part, m.tables, i);
                      });
        },
        [&](const TurnedMemory& m) { make(tasks_.whole(), m.tables, tasks_.rows()); });
  }

 private:
  using Kernel = void (*)(const PoolLines&);

  Kernel choose_kernel() const {
    const PoolKernels& pool = active_table().pool;
    const auto& walks = walk_ == Walk::lanes    ? pool.lanes
                        : walk_ == Walk::window ? pool.window
                                                : pool.sliding;
    return walks[static_cast<int>(operation_)][static_cast<int>(x_.dtype)];
  }

  // The tables of a task's columns.
  void prepare(const RowPart& part, char* scratch) const {
    const PoolAxis& axis = problem_.axis[2];
    const Taps inner = axis.inner_windows();
    const auto inside = [&](int64_t o) { return o >= inner.first && o < inner.first + inner.count; };
    if (walk_ != Walk::sliding) {
      Taps* taps = reinterpret_cast<Taps*>(scratch + taps_at_);
      for (int64_t j = 0, o = part.column; j < part.columns; ++j, ++o) {
        taps[j] = inside(o) ? Taps{o * axis.stride - axis.before, axis.kernel} : axis.taps(o);
      }
      if (operation_ == PoolOperation::max && walk_ == Walk::lanes) {
        int64_t* first = reinterpret_cast<int64_t*>(scratch + numbers_at_);
        for (int64_t j = 0; j < part.columns; ++j)
          first[j] = numbers_ == Numbers::taps ? axis.first_tap(part.column + j) : taps[j].first;
      }
    }
    if (operation_ == PoolOperation::mean) {
      const int64_t inner_divisor = inner.count ? problem_.divisor(2, inner.first) : 0;
      for (int64_t j = 0, o = part.column; j < part.columns; ++j, ++o) {
        const int64_t divisor = inside(o) ? inner_divisor : problem_.divisor(2, o);
        store_scalar(scratch + divisors_at_, x_.dtype, j, static_cast<double>(divisor));
      }
    }
  }

  void add_line(const PoolData& data, const RowPart& part, char* scratch, int64_t i) const {
    const PoolAxis* axis = problem_.axis;
    const Taps outer = axes_[0][part.outer], inner = axes_[1][part.inner];
    const void** rows = reinterpret_cast<const void**>(scratch + rows_at_) + i * most_rows_;
    int64_t* row_number = reinterpret_cast<int64_t*>(scratch + row_numbers_at_) + i * most_rows_;
    const char* const plane = static_cast<const char*>(data.x) + plane_offset(x_, part) * item_;
    const int64_t strides[2] = {x_.stride[0] * item_, x_.stride[1] * item_};
    int64_t n = 0;
    for (int64_t a = 0, d = outer.first; a < outer.count; ++a, d += axis[0].dilation) {
      for (int64_t b = 0, h = inner.first; b < inner.count; ++b, h += axis[1].dilation) {
        rows[n] = plane + d * strides[0] + h * strides[1];
        row_number[n++] = (d * axis[1].input + h) * axis[2].input;
      }
    }
    if (numbers_ == Numbers::taps) {
      const int64_t first[2] = {axis[0].first_tap(part.outer), axis[1].first_tap(part.inner)};
      for (int64_t k = 0; k < n; ++k)
        row_number[k] =
            ((first[0] + k / inner.count) * axis[1].kernel + first[1] + k % inner.count) * axis[2].kernel;
    }
    const int64_t y_at = plane_offset(y_, part) + part.outer * y_.stride[0] + part.inner * y_.stride[1] +
                         part.column * y_.stride[2];
    reinterpret_cast<PoolLine*>(scratch + lines_at_)[i] = {
        rows,
        row_number,
        n,
        axes_[0].divisor_of(part.outer) * axes_[1].divisor_of(part.inner),
        static_cast<char*>(data.y) + y_at * item_,
        data.indices ? data.indices + y_at : nullptr,
        data.taps ? data.taps + y_at : nullptr};
  }

  void make(const RowPart& part, char* scratch, int64_t lines) const {
    const PoolAxis& axis = problem_.axis[2];
    PoolLines r;
    r.lines = reinterpret_cast<const PoolLine*>(scratch + lines_at_);
    r.line_count = lines;
    r.taps = reinterpret_cast<const Taps*>(scratch + taps_at_);
    r.columns = part.columns;
    r.step = axis.dilation;
    r.start = part.column * axis.stride - axis.before;
    r.stride = axis.stride;
    r.kernel = axis.kernel;
    r.input = axis.input;
    r.x_pitch = x_.stride[2];
    r.y_pitch = y_.stride[2];
    r.channels = part.lanes;
    r.first_number = reinterpret_cast<const int64_t*>(scratch + numbers_at_);
    r.number_step = numbers_ == Numbers::taps ? 1 : axis.dilation;
    r.divisor = operation_ == PoolOperation::mean ? scratch + divisors_at_ : nullptr;
    r.p = p_;
    r.scratch = scratch + scratch_at_;
    kernel_(r);
  }

  const PoolProblem& problem_;
  const PoolOperation operation_;
  const double p_;
  const Numbers numbers_;
  const ImageView x_, y_;
  const int64_t item_;
  const Walk walk_;
  const Kernel kernel_;
  const RowAxis axes_[2];
  const RowTasks tasks_;
  ScratchLayout layout_;
  int64_t most_rows_, lines_;
  // In a worker's scratch.
  int64_t lines_at_, rows_at_, row_numbers_at_, numbers_at_, taps_at_, divisors_at_, scratch_at_;
};

}  // namespace

void pool(const PoolProblem& problem, PoolOperation operation, double p, const ImageView& x,
          const ImageView& y, int64_t* indices, bool channels_last) {
  if (x.batch == 0 || x.channels == 0) return;
  const bool lanes = in_lanes(x, channels_last);
  const Machine machine = Machine::current();
  const FlatPlanes flat(problem, x, y, lanes, indices == nullptr);
  if (!lanes && !indices && RowPool::serves(flat.problem)) {
    return RowPool(flat.problem, operation, p, flat.large, flat.small, nullptr).run(machine.threads);
  }
  const TurnedPlanes turned(machine, {flat.large}, flat.small);
  if (!lanes && turned.pay()) {
    const int64_t width = turned.width();
    Pool(flat.problem, operation, p, Numbers::positions, turned_view(flat.large, width),
         turned_view(flat.small, width), true, true, 1)
        .run_turned(turned, indices, pool_elements(problem, x));
    return;
  }
  Pool(flat.problem, operation, p, Numbers::positions, flat.large, flat.small, lanes, false, machine.threads)
      .run({x.data, y.data, indices, nullptr}, machine.threads);
}

bool finds_taps(const PoolProblem& problem, bool lanes) {
  double taps = 1, positions = 1;  // of the plane, with all that windows may reach beyond it
  for (const PoolAxis& axis : problem.axis) {
    taps *= static_cast<double>(axis.kernel);
    positions *= static_cast<double>(axis.input) + 2 * static_cast<double>((axis.kernel - 1) * axis.dilation);
    if (axis.adaptive || taps > kTapsOfByte || positions > kMostIndexedPositions || axis.leaves_empty())
      return false;
  }
  return lanes || RowPool::serves(problem);
}

void max_pool_taps(const PoolProblem& problem, const ImageView& x, const ImageView& y, std::uint8_t* taps,
                   bool channels_last) {
  if (x.batch == 0 || x.channels == 0) return;
  constexpr PoolOperation kMax = PoolOperation::max;
  const Machine machine = Machine::current();
  if (in_lanes(x, channels_last)) {
    Pool(problem, kMax, 0, Numbers::taps, x, y, true, false, machine.threads)
        .run({x.data, y.data, nullptr, taps}, machine.threads);
    return;
  }
  const TurnedPlanes turned(machine, {x}, y);
  const int64_t width = turned.width();
  if (2 * problem.axis[2].output <= width && turned.pay()) {
    Pool(problem, kMax, 0, Numbers::taps, turned_view(x, width), turned_view(y, width), true, true, 1)
        .run_turned(turned, taps, pool_elements(problem, x));
  } else {
    RowPool(problem, kMax, 0, x, y, taps).run(machine.threads);
  }
}

}  // namespace fastconv::cpu
