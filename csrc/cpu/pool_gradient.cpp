#include "cpu/dispatch.h"
#include "cpu/pool.h"
#include "cpu/pool_rows.h"
#include "cpu/pool_tasks.h"
#include "cpu/pool_turned.h"

namespace fastconv::cpu {
namespace {

constexpr int64_t kMostLanes = 16;
constexpr int64_t kColumnBlock = 2048;

struct PoolGradientData {
  const void* dy;
  const void* x;  // and y: of a power
  const void* y;
  void* dx;
};

// dy (and y) and dx (and x) lend their sizes and strides; their data come with the call. `all_lines`: listed
// at once.
class PoolGradient {
 public:
  PoolGradient(const PoolProblem& problem, PoolOperation operation, double p, const ImageView& dy,
               const ImageView& dx, bool lanes, bool all_lines, int threads)
      : problem_(problem),
        p_(p),
        dy_(dy),
        dx_(dx),
        kernel_((lanes ? active_table().pool.gradient_lanes
                       : active_table().pool.gradient_runs)[operation == PoolOperation::power]
                                                           [static_cast<int>(dx.dtype)]),
        axes_{row_axis(0), row_axis(1)},
        tasks_(dx, lanes, {problem.axis[0].input, problem.axis[1].input, problem.axis[2].input},
               std::min(problem.axis[2].input, kColumnBlock), pool_elements(problem, dx), threads) {
    const PoolAxis& axis = problem.axis[2];
    const int64_t item = size_of(compute_dtype(dx.dtype));
    most_rows_ = axes_[0].most * axes_[1].most;
    const int64_t columns = tasks_.column_block;
    // Most windows that hold columns of one task.
    const int64_t windows = std::min(
        axis.output, axis.adaptive ? columns * axis.output / axis.input + 3
                                   : (columns + (axis.kernel - 1) * axis.dilation) / axis.stride + 2);
    lines_ = all_lines ? tasks_.rows() : lines_at_once(std::max(columns, windows), most_rows_);
    lines_at_ = layout_.add(lines_ * static_cast<int64_t>(sizeof(PoolGradientLine)));
    range_at_ = layout_.add(sizeof(Taps));
    dy_rows_at_ = layout_.add(lines_ * most_rows_ * 8);
    y_rows_at_ = layout_.add(lines_ * most_rows_ * 8);
    row_weights_at_ = layout_.add(lines_ * most_rows_ * 8);
    runs_at_ = layout_.add(columns * static_cast<int64_t>(sizeof(ReaderRun)));
    weights_at_ = layout_.add(windows * item);
    scratch_at_ = layout_.add((windows + kMostLanes) * item);
  }

  void run(const PoolGradientData& data, int threads) const {
    tasks_.run(
        layout_, lines_, pool_elements(problem_, dx_), threads,
        [&](const RowPart& part, char* scratch) { prepare(part, scratch); },
        [&](const RowPart& part, char* scratch, int64_t i) { add_line(data, part, scratch, i); },
        [&](const RowPart& part, char* scratch, int64_t count) { make(part, scratch, count); });
  }

  // As Pool::run_turned.
  void run_turned(const TurnedPlanes& planes, double elements) const {
    planes.run(
        static_cast<int64_t*>(nullptr), layout_.bytes(), elements,
        [&](const TurnedMemory& m) {
          tasks_.list([&](const RowPart& part) { prepare(part, m.tables); },
                      [&](const RowPart& part, int64_t i) {
                        add_line({m.in[0], m.in[1], m.in[2], m.out}, part, m.tables, i);
                      });
        },
        [&](const TurnedMemory& m) { make(tasks_.whole(), m.tables, tasks_.rows()); });
  }

 private:
  RowAxis row_axis(int i) const {
    const PoolAxis& axis = problem_.axis[i];
    return RowAxis(
        axis.input, axis.reader_step(), axis.output, [&](int64_t at) { return axis.readers(at); },
        [&](int64_t o) { return problem_.divisor(i, o); });
  }

  double weight(int64_t o) const { return 1.0 / static_cast<double>(problem_.divisor(2, o)); }

  // The tables of a task's columns.
  void prepare(const RowPart& part, char* scratch) const {
    const PoolAxis& axis = problem_.axis[2];
    const int64_t end = part.column + part.columns;
    const Taps range = axis.reader_range(part.column, end);
    *reinterpret_cast<Taps*>(scratch + range_at_) = range;
    const Taps inner = axis.inner_windows();
    const double inner_weight = inner.count ? weight(inner.first) : 0;
    for (int64_t n = 0; n < range.count; ++n) {
      const int64_t o = range.first + n;
      const bool inside = o >= inner.first && o < inner.first + inner.count;
      store_scalar(scratch + weights_at_, dx_.dtype, n, inside ? inner_weight : weight(o));
    }
    axis.reader_runs(part.column, end, reinterpret_cast<ReaderRun*>(scratch + runs_at_));
  }

  void add_line(const PoolGradientData& data, const RowPart& part, char* scratch, int64_t i) const {
    const Taps outer = axes_[0][part.outer], inner = axes_[1][part.inner];
    const void** dy_rows = reinterpret_cast<const void**>(scratch + dy_rows_at_) + i * most_rows_;
    const void** y_rows = reinterpret_cast<const void**>(scratch + y_rows_at_) + i * most_rows_;
    double* row_weight = reinterpret_cast<double*>(scratch + row_weights_at_) + i * most_rows_;
    const int64_t dy_plane = plane_offset(dy_, part);
    int64_t n = 0;
    for (int64_t a = 0, d = outer.first; a < outer.count; ++a, d += axes_[0].step) {
      for (int64_t b = 0, h = inner.first; b < inner.count; ++b, h += axes_[1].step) {
        const int64_t at = dy_plane + d * dy_.stride[0] + h * dy_.stride[1];
        dy_rows[n] = element(data.dy, dy_.dtype, at);
        y_rows[n] = data.y ? element(data.y, dy_.dtype, at) : nullptr;
        row_weight[n++] = 1.0 / (axes_[0].divisor_of(d) * axes_[1].divisor_of(h));
      }
    }
    const int64_t dx_at = plane_offset(dx_, part) + part.outer * dx_.stride[0] + part.inner * dx_.stride[1] +
                          part.column * dx_.stride[2];
    reinterpret_cast<PoolGradientLine*>(scratch + lines_at_)[i] = {
        dy_rows,
        y_rows,
        row_weight,
        n,
        data.x ? element(data.x, dx_.dtype, dx_at) : nullptr,
        element(data.dx, dx_.dtype, dx_at)};
  }

  void make(const RowPart& part, char* scratch, int64_t lines) const {
    const PoolAxis& axis = problem_.axis[2];
    const Taps range = *reinterpret_cast<const Taps*>(scratch + range_at_);
    PoolGradientLines r;
    r.lines = reinterpret_cast<const PoolGradientLine*>(scratch + lines_at_);
    r.line_count = lines;
    r.column_weight = scratch + weights_at_;
    r.first_window = range.first;
    r.windows = range.count;
    r.columns = part.columns;
    r.step = axis.reader_step();
    r.runs = reinterpret_cast<const ReaderRun*>(scratch + runs_at_);
    r.dy_pitch = dy_.stride[2];
    r.dx_pitch = dx_.stride[2];
    r.channels = part.lanes;
    r.p = p_;
    r.scratch = scratch + scratch_at_;
    kernel_(r);
  }

  const PoolProblem& problem_;
  const double p_;
  const ImageView dy_, dx_;
  void (*const kernel_)(const PoolGradientLines&);
  const RowAxis axes_[2];
  const RowTasks tasks_;
  ScratchLayout layout_;
  int64_t most_rows_, lines_;
  int64_t lines_at_, range_at_, dy_rows_at_, y_rows_at_, row_weights_at_, runs_at_, weights_at_, scratch_at_;
};

}  // namespace

void pool_gradient(const PoolProblem& problem, PoolOperation operation, double p, const ImageView& dy,
                   const void* x, const void* y, const ImageView& dx, bool channels_last) {
  if (dx.batch == 0 || dx.channels == 0) return;
  const bool lanes = channels_last && dx.channels > 1;
  const Machine machine = Machine::current();
  const FlatPlanes flat(problem, dx, dy, lanes, true);
  if (!lanes && RowPoolGradient::serves(flat.problem)) {
    return RowPoolGradient(flat.problem, operation, p, flat.small, flat.large).run(x, y, machine.threads);
  }
  std::vector<ImageView> in = {flat.small};
  if (operation == PoolOperation::power) {
    in.insert(in.end(), {flat.large, flat.small});
    in[1].data = const_cast<void*>(x);
    in[2].data = const_cast<void*>(y);
  }
  const TurnedPlanes turned(machine, in, flat.large);
  if (!lanes && turned.pay()) {
    const int64_t width = turned.width();
    PoolGradient(flat.problem, operation, p, turned_view(flat.small, width), turned_view(flat.large, width),
                 true, true, 1)
        .run_turned(turned, pool_elements(problem, dx));
    return;
  }
  PoolGradient(flat.problem, operation, p, flat.small, flat.large, lanes, false, machine.threads)
      .run({dy.data, x, y, dx.data}, machine.threads);
}

}  // namespace fastconv::cpu
