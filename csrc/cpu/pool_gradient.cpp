#include "cpu/dispatch.h"
#include "cpu/pool.h"
#include "cpu/pool_tasks.h"

namespace fastconv::cpu {
namespace {

constexpr int64_t kMostLanes = 16;
constexpr int64_t kColumnBlock = 2048;
constexpr double kNsPerElement = 0.25;  // one core, data in cache

struct PoolGradient {
  const PoolProblem& problem;
  PoolOperation operation;
  double p;
  const ImageView& dy;
  const void* x;
  const void* y;
  const ImageView& dx;
  bool lanes;
  const KernelTable& table;

  int64_t stride;  // as PoolGradientRow wants it
  int64_t dy_rows_at, y_rows_at, row_weights_at, readers_at, weights_at, scratch_at;
  ScratchLayout layout;
  RowTasks tasks;

  PoolGradient(const PoolProblem& problem_, PoolOperation operation_, double p_, const ImageView& dy_,
               const void* x_, const void* y_, const ImageView& dx_, bool lanes_, int threads)
      : problem(problem_),
        operation(operation_),
        p(p_),
        dy(dy_),
        x(x_),
        y(y_),
        dx(dx_),
        lanes(lanes_),
        table(active_table()),
        tasks(plane_count(dx, lanes), problem.axis[0].input * problem.axis[1].input, problem.axis[2].input,
              std::min(problem.axis[2].input, kColumnBlock), lanes ? dx.channels : 1, elements(), threads) {
    const PoolAxis& axis = problem.axis[2];
    const bool shifted = axis.stride == 1 || (axis.stride == 2 && axis.dilation == 1);
    stride = !axis.adaptive && shifted ? axis.stride : 0;
    const int64_t item = size_of(compute_dtype(dx.dtype));
    const int64_t rows = problem.axis[0].most_readers() * problem.axis[1].most_readers();
    const int64_t reach = (axis.kernel - 1) * axis.dilation;
    const int64_t line = std::max(tasks.column_block + (stride ? reach : 0), most_windows()) + kMostLanes;
    dy_rows_at = layout.add(rows * 8);
    y_rows_at = layout.add(rows * 8);
    row_weights_at = layout.add(rows * 8);
    readers_at = layout.add(tasks.column_block * static_cast<int64_t>(sizeof(Taps)));
    weights_at = layout.add(most_windows() * item);
    scratch_at = layout.add((line + 2 * tasks.column_block + 4 * kMostLanes) * item);
  }

  double elements() const {
    return static_cast<double>(dx.batch * dx.channels) *
           static_cast<double>(problem.positions() + problem.windows());
  }

  // That the columns of one task can be held by.
  int64_t most_windows() const {
    const PoolAxis& axis = problem.axis[2];
    const int64_t block = std::min(axis.input, kColumnBlock);
    if (axis.adaptive) return std::min(axis.output, (block * axis.output) / axis.input + 3);
    return std::min(axis.output, (block + (axis.kernel - 1) * axis.dilation) / axis.stride + 2);
  }

  // The range of windows that hold a task's columns; none where they fall between windows.
  Taps windows(const Taps* readers, int64_t columns) const {
    const int64_t step = problem.axis[2].reader_step();
    int64_t begin = problem.axis[2].output, end = 0;
    for (int64_t i = 0; i < columns; ++i) {
      if (readers[i].count == 0) continue;
      begin = std::min(begin, readers[i].first);
      end = std::max(end, readers[i].first + (readers[i].count - 1) * step + 1);
    }
    return end > begin ? Taps{begin, end - begin} : Taps{0, 0};
  }

  // The tables of a task's columns.
  void prepare(const RowPart& part, char* scratch) const {
    Taps* readers = reinterpret_cast<Taps*>(scratch + readers_at);
    for (int64_t i = 0; i < part.columns; ++i) readers[i] = problem.axis[2].readers(part.column + i);
    const Taps range = windows(readers, part.columns);
    for (int64_t n = 0; n < range.count; ++n) {
      const double weight = 1.0 / static_cast<double>(problem.divisor(2, range.first + n));
      if (dx.dtype == Dtype::float64) {
        reinterpret_cast<double*>(scratch + weights_at)[n] = weight;
      } else {
        reinterpret_cast<float*>(scratch + weights_at)[n] = static_cast<float>(weight);
      }
    }
  }

  void make(const RowPart& part, char* scratch) const {
    const PoolAxis* axis = problem.axis;
    const int64_t i[2] = {part.row / axis[1].input, part.row % axis[1].input};
    const Taps outer = axis[0].readers(i[0]), inner = axis[1].readers(i[1]);
    const void** dy_rows = reinterpret_cast<const void**>(scratch + dy_rows_at);
    const void** y_rows = reinterpret_cast<const void**>(scratch + y_rows_at);
    double* row_weight = reinterpret_cast<double*>(scratch + row_weights_at);
    const int64_t dy_plane = plane_offset(dy, lanes, part.plane) + part.channel * dy.channel_stride;
    int64_t n = 0;
    for (int64_t a = 0, d = outer.first; a < outer.count; ++a, d += axis[0].reader_step()) {
      for (int64_t b = 0, h = inner.first; b < inner.count; ++b, h += axis[1].reader_step()) {
        const int64_t at = dy_plane + d * dy.stride[0] + h * dy.stride[1];
        dy_rows[n] = element(dy.data, dy.dtype, at);
        y_rows[n] = y ? element(y, dy.dtype, at) : nullptr;
        row_weight[n++] =
            1.0 / (static_cast<double>(problem.divisor(0, d)) * static_cast<double>(problem.divisor(1, h)));
      }
    }
    const int64_t dx_at = plane_offset(dx, lanes, part.plane) + i[0] * dx.stride[0] + i[1] * dx.stride[1] +
                          part.column * dx.stride[2] + part.channel * dx.channel_stride;
    const Taps* readers = reinterpret_cast<const Taps*>(scratch + readers_at);
    const Taps range = windows(readers, part.columns);
    PoolGradientRow r{};
    r.dy = dy_rows;
    r.y = y_rows;
    r.row_weight = row_weight;
    r.row_count = n;
    r.column_weight = scratch + weights_at;
    r.first_window = range.first;
    r.windows = range.count;
    r.readers = readers;
    r.columns = part.columns;
    r.step = axis[2].reader_step();
    r.start = part.column + axis[2].before;
    r.stride = stride;
    r.kernel = axis[2].kernel;
    r.dilation = axis[2].dilation;
    r.dy_pitch = dy.stride[2];
    r.dx_pitch = dx.stride[2];
    r.channels = part.channels;
    r.x = x ? element(x, dx.dtype, dx_at) : nullptr;
    r.p = p;
    r.dx = element(dx.data, dx.dtype, dx_at);
    r.scratch = scratch + scratch_at;
    const auto& kernels = lanes ? table.pool.gradient_lanes : table.pool.gradient_row;
    kernels[operation == PoolOperation::power][static_cast<int>(dx.dtype)](r);
  }
};

}  // namespace

void pool_gradient(const PoolProblem& problem, PoolOperation operation, double p, const ImageView& dy,
                   const void* x, const void* y, const ImageView& dx, bool channels_last) {
  if (dx.batch == 0 || dx.channels == 0) return;
  const bool flat = problem.axis[0].whole() && problem.axis[1].whole() && problem.axis[2].whole();
  const PoolProblem flat_problem = flattened(problem);
  const int threads = num_threads();
  const PoolGradient call(flat ? flat_problem : problem, operation, p, dy, x, y, dx,
                          channels_last && dx.channels > 1, threads);
  const int64_t bytes = call.layout.bytes();
  const Buffer scratch(bytes * threads);
  const auto of = [&](int worker) { return scratch.as<char>() + worker * bytes; };
  call.tasks.run(
      call.elements() * kNsPerElement, threads,
      [&](int worker, const RowPart& part) { call.prepare(part, of(worker)); },
      [&](int worker, const RowPart& part) { call.make(part, of(worker)); });
}

}  // namespace fastconv::cpu
