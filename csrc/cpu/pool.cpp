#include "cpu/pool.h"

#include <stdexcept>

#include "cpu/dispatch.h"
#include "cpu/pool_tasks.h"

namespace fastconv::cpu {
namespace {

constexpr int64_t kMostLanes = 16;
constexpr int64_t kLinePositions = 4096;   // of a line that stays in L1
constexpr int64_t kMostNumbers = 1 << 30;  // what a lane of float32 can count, see kernels/pool_operations.h
constexpr double kNsPerElement = 0.25;     // one core, data in cache

bool dense_planes(const ImageView& v) {
  int64_t stride = v.stride[kAxes - 1];
  for (int i = kAxes - 1; i >= 0; --i) {
    if (v.size[i] != 1 && v.stride[i] != stride) return false;
    stride *= v.size[i];
  }
  return true;
}

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
  if (walk != Walk::sliding) return std::min<int64_t>(axis.output, 1024);
  const int64_t reach = (axis.kernel - 1) * axis.dilation;
  const int64_t fitting = (kLinePositions - std::min(reach, kLinePositions)) / axis.stride;
  return std::min(axis.output, std::max(fitting, kMostLanes));
}

// Bytes of what slide() in kernels/pool_sliding.h lays out: offsets, line and deals, with their numbers.
int64_t sliding_scratch(const PoolAxis& axis, int64_t columns, int64_t item) {
  const int64_t reach = (axis.kernel - 1) * axis.dilation, span = (columns - 1) * axis.stride + reach + 1;
  const int64_t deals = std::max<int64_t>(2, std::min(axis.stride, reach + 1));
  const int64_t pitch = span / axis.stride + 1 + kMostLanes;
  return axis.kernel * 8 + 2 * item * (span + kMostLanes + deals * pitch);
}

struct Pool {
  const PoolProblem& problem;
  PoolOperation operation;
  double p;
  const ImageView &x, &y;
  int64_t* indices;
  bool lanes;
  const KernelTable& table;

  Walk walk;
  int64_t rows_at, positions_at, taps_at, divisors_at, scratch_at;  // in a worker's scratch
  ScratchLayout layout;
  RowTasks tasks;

  Pool(const PoolProblem& problem_, PoolOperation operation_, double p_, const ImageView& x_,
       const ImageView& y_, int64_t* indices_, bool lanes_, int threads)
      : problem(problem_),
        operation(operation_),
        p(p_),
        x(x_),
        y(y_),
        indices(indices_),
        lanes(lanes_),
        table(active_table()),
        walk(choose_walk(problem.axis[2], lanes)),
        tasks(plane_count(x, lanes), problem.axis[0].output * problem.axis[1].output, problem.axis[2].output,
              column_block(problem.axis[2], walk), lanes ? x.channels : 1, elements(), threads) {
    const int64_t item = size_of(compute_dtype(x.dtype));
    const int64_t rows = problem.axis[0].most_taps() * problem.axis[1].most_taps();
    rows_at = layout.add(rows * 8);
    positions_at = layout.add(rows * 8);
    taps_at = layout.add(tasks.column_block * static_cast<int64_t>(sizeof(Taps)));
    divisors_at = layout.add(tasks.column_block * item);
    scratch_at =
        layout.add(walk == Walk::sliding ? sliding_scratch(problem.axis[2], tasks.column_block, item) : 0);
  }

  double elements() const {
    return static_cast<double>(x.batch * x.channels) *
           static_cast<double>(problem.positions() + problem.windows());
  }

  // The tables of a task's columns.
  void prepare(const RowPart& part, char* scratch) const {
    Taps* taps = reinterpret_cast<Taps*>(scratch + taps_at);
    for (int64_t j = 0; j < part.columns; ++j) taps[j] = problem.axis[2].taps(part.column + j);
    if (operation != PoolOperation::mean) return;
    for (int64_t j = 0; j < part.columns; ++j) {
      const int64_t divisor = problem.divisor(2, part.column + j);
      if (x.dtype == Dtype::float64) {
        reinterpret_cast<double*>(scratch + divisors_at)[j] = static_cast<double>(divisor);
      } else {
        reinterpret_cast<float*>(scratch + divisors_at)[j] = static_cast<float>(divisor);
      }
    }
  }

  void make(const RowPart& part, char* scratch) const {
    const PoolAxis* axis = problem.axis;
    const int64_t o[2] = {part.row / axis[1].output, part.row % axis[1].output};
    const Taps outer = axis[0].taps(o[0]), inner = axis[1].taps(o[1]);
    const void** rows = reinterpret_cast<const void**>(scratch + rows_at);
    int64_t* row_position = reinterpret_cast<int64_t*>(scratch + positions_at);
    const int64_t x_plane = plane_offset(x, lanes, part.plane) + part.channel * x.channel_stride;
    int64_t n = 0;
    for (int64_t i = 0, d = outer.first; i < outer.count; ++i, d += axis[0].dilation) {
      for (int64_t j = 0, h = inner.first; j < inner.count; ++j, h += axis[1].dilation) {
        rows[n] = element(x.data, x.dtype, x_plane + d * x.stride[0] + h * x.stride[1]);
        row_position[n++] = (d * axis[1].input + h) * axis[2].input;
      }
    }
    const int64_t y_at = plane_offset(y, lanes, part.plane) + o[0] * y.stride[0] + o[1] * y.stride[1] +
                         part.column * y.stride[2] + part.channel * y.channel_stride;
    PoolRow r{};
    r.rows = rows;
    r.row_position = row_position;
    r.row_count = n;
    r.taps = reinterpret_cast<const Taps*>(scratch + taps_at);
    r.columns = part.columns;
    r.step = axis[2].dilation;
    r.start = part.column * axis[2].stride - axis[2].before;
    r.stride = axis[2].stride;
    r.kernel = axis[2].kernel;
    r.input = axis[2].input;
    r.x_pitch = x.stride[2];
    r.y_pitch = y.stride[2];
    r.channels = part.channels;
    if (operation == PoolOperation::mean) {
      r.divisor = scratch + divisors_at;
      r.row_divisor =
          static_cast<double>(problem.divisor(0, o[0])) * static_cast<double>(problem.divisor(1, o[1]));
    }
    r.p = p;
    r.y = element(y.data, y.dtype, y_at);
    r.indices = indices ? indices + y_at : nullptr;
    r.scratch = scratch + scratch_at;
    const auto& kernels = walk == Walk::lanes    ? table.pool.lanes
                          : walk == Walk::window ? table.pool.window
                                                 : table.pool.sliding;
    kernels[static_cast<int>(operation)][static_cast<int>(x.dtype)](r);
  }
};

}  // namespace

void pool(const PoolProblem& problem, PoolOperation operation, double p, const ImageView& x,
          const ImageView& y, int64_t* indices, bool channels_last) {
  if (x.batch == 0 || x.channels == 0) return;
  if (indices && problem.positions() > kMostNumbers) {
    throw std::invalid_argument("the indices of maxima are for planes of at most 2^30 elements, got " +
                                std::to_string(problem.positions()));
  }
  const bool flat =
      problem.axis[0].whole() && problem.axis[1].whole() && problem.axis[2].whole() && dense_planes(x);
  const PoolProblem flat_problem = flattened(problem);
  const int threads = num_threads();
  const Pool call(flat ? flat_problem : problem, operation, p, x, y, indices, channels_last && x.channels > 1,
                  threads);
  const int64_t bytes = call.layout.bytes();
  const Buffer scratch(bytes * threads);
  const auto of = [&](int worker) { return scratch.as<char>() + worker * bytes; };
  call.tasks.run(
      call.elements() * kNsPerElement, threads,
      [&](int worker, const RowPart& part) { call.prepare(part, of(worker)); },
      [&](int worker, const RowPart& part) { call.make(part, of(worker)); });
}

}  // namespace fastconv::cpu
