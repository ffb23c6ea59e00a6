// Pools; their gradients are in bind_pool_gradient.cpp.
#include <algorithm>

#include "core/checked.h"
#include "python/call.h"
#include "python/padding.h"
#include "python/pool_arguments.h"
#include "python/pool_index.h"
#include "python/result.h"

namespace fastconv::python {
namespace {

// y, or (y, indices).
py::object run_pool(Call* call, const PoolInput& x, const PoolShape& shape, const PoolProblem& problem,
                    PoolOperation operation, double p, bool return_indices, const Shape& result_shape,
                    const py::object& out) {
  if (call->logged()) call->say({&x.array}, "to " + shape_text(result_shape));
  Result y(out, result_shape, x.array, {&x.array});
  NewArray indices{py::none(), nullptr};
  if (return_indices) {
    require_indexable(call->function(), problem);
    indices = new_indices(x.array, result_shape);
  }
  const ImageView result =
      pool_view(y.data(), x.array.dtype(), shape,
                {problem.axis[0].output, problem.axis[1].output, problem.axis[2].output});
  call->run([&] {
    call->backend().pool(problem, operation, p, x.view, result, static_cast<std::int64_t*>(indices.data),
                         shape.channels_last);
  });
  const py::object pooled = y.finish();
  return return_indices ? py::object(py::make_tuple(pooled, indices.object)) : pooled;
}

py::object max_pool(int rank, const py::object& x, const py::object& kernel_size, const py::object& stride,
                    const py::object& padding, const py::object& dilation, const py::object& ceil_mode,
                    const py::object& return_indices, const py::object& data_format, const py::object& out) {
  const std::string function = ranked_name("max_pool", rank);
  Call call(function.c_str(), x, "x");
  const Array array = call.read(x, "x");
  const PoolShape shape = read_pool_shape(function, "x", array.shape(), rank, data_format);
  const PoolProblem problem =
      read_sliding(function, shape, kernel_size, stride, padding, dilation, ceil_mode);
  return run_pool(&call, pool_input(array, shape), shape, problem, PoolOperation::max, 0,
                  read_flag(function, "return_indices", return_indices), shape.pooled(problem), out);
}

py::object avg_pool(int rank, const py::object& x, const py::object& kernel_size, const py::object& stride,
                    const py::object& padding, const py::object& dilation, const py::object& ceil_mode,
                    const py::object& count_include_pad, const py::object& divisor_override,
                    const py::object& data_format, const py::object& out) {
  const std::string function = ranked_name("avg_pool", rank);
  Call call(function.c_str(), x, "x");
  const Array array = call.read(x, "x");
  const PoolShape shape = read_pool_shape(function, "x", array.shape(), rank, data_format);
  PoolProblem problem = read_sliding(function, shape, kernel_size, stride, padding, dilation, ceil_mode);
  read_divisor(function, count_include_pad, divisor_override, &problem);
  return run_pool(&call, pool_input(array, shape), shape, problem, PoolOperation::mean, 0, false,
                  shape.pooled(problem), out);
}

py::object lp_pool(int rank, const py::object& x, const py::object& p, const py::object& kernel_size,
                   const py::object& stride, const py::object& padding, const py::object& ceil_mode,
                   const py::object& data_format) {
  const std::string function = ranked_name("lp_pool", rank);
  Call call(function.c_str(), x, "x");
  const Array array = call.read(x, "x");
  const PoolShape shape = read_pool_shape(function, "x", array.shape(), rank, data_format);
  const double norm = read_norm(function, p);
  const PoolProblem problem =
      read_sliding(function, shape, kernel_size, stride, padding, py::int_(1), ceil_mode);
  return run_pool(&call, pool_input(array, shape), shape, problem, PoolOperation::power, norm, false,
                  shape.pooled(problem), py::none());
}

py::object adaptive_pool(const char* base, PoolOperation operation, int rank, const py::object& x,
                         const py::object& output_size, const py::object& return_indices,
                         const py::object& data_format) {
  const std::string function = ranked_name(base, rank);
  Call call(function.c_str(), x, "x");
  const Array array = call.read(x, "x");
  const PoolShape shape = read_pool_shape(function, "x", array.shape(), rank, data_format);
  const PoolProblem problem = read_adaptive(function, shape, output_size);
  return run_pool(&call, pool_input(array, shape), shape, problem, operation, 0,
                  read_flag(function, "return_indices", return_indices), shape.pooled(problem), py::none());
}

py::object global_pool_of(const std::string& function, PoolOperation operation, const py::object& x,
                          const py::object& keepdims, const py::object& data_format) {
  Call call(function.c_str(), x, "x");
  const Array array = call.read(x, "x");
  const ReshapedPool r = global_pool(function, "x", array.shape(), keepdims, data_format);
  return run_pool(&call, reshaped_input(array, r.shape), r.shape, r.problem, operation, 0, false, r.result,
                  py::none());
}

py::object channel_pool_of(const std::string& function, PoolOperation operation, const py::object& x,
                           const py::object& pool_size, const py::object& stride,
                           const py::object& data_format) {
  Call call(function.c_str(), x, "x");
  const Array array = call.read(x, "x");
  const ReshapedPool r = channel_pool(function, "x", array.shape(), pool_size, stride, data_format);
  return run_pool(&call, reshaped_input(array, r.shape), r.shape, r.problem, operation, 0, false, r.result,
                  py::none());
}

// The sizes that a max_unpool gives back: those that the pool reads without a remainder, or the caller's,
// which are less than a stride away from them.
void read_unpooled(const std::string& function, const PoolShape& x, const py::object& kernel_size,
                   const py::object& stride, const py::object& padding, const py::object& output_size,
                   std::int64_t (&size)[kAxes]) {
  const char* name = function.c_str();
  std::int64_t kernel[kAxes], steps[kAxes], before[kAxes], after[kAxes];
  read_axes(name, "kernel_size", kernel_size, x.rank, 1, 1, kernel);
  read_axes(name, "stride", stride.is_none() ? kernel_size : stride, x.rank, 1, 1, steps);
  const PaddingSpec spec = read_padding(name, padding, x.rank);
  const bool given = !output_size.is_none();
  if (given) {
    read_axes(name, "output_size", output_size, x.rank, 1, 1, size);
  } else if (spec.kind != PaddingSpec::Kind::pairs && spec.kind != PaddingSpec::Kind::valid) {
    throw py::value_error(function + ": padding is " + std::string(py::repr(padding)) +
                          ", which fits several sizes; name one with output_size");
  }
  const std::int64_t ones[kAxes] = {1, 1, 1};
  resolve_padding(function, spec, given ? size : ones, kernel, steps, ones, before, after);
  for (int i = kAxes - x.rank; i < kAxes; ++i) {
    const std::string axis = "spatial axis " + std::to_string(i - (kAxes - x.rank));
    const std::int64_t whole = checked_product({function, "the result"}, {x.size[i] - 1, steps[i]}) +
                               kernel[i] - before[i] - after[i];
    if (!given) size[i] = whole;
    if (size[i] < 1) {
      throw py::value_error(function + ": padding leaves nothing of " + axis + ", whose size would be " +
                            std::to_string(size[i]));
    }
    if (size[i] <= whole - steps[i] || size[i] >= whole + steps[i]) {
      const std::int64_t least = std::max<std::int64_t>(whole - steps[i] + 1, 1);
      throw py::value_error(function + ": output_size has the value " + std::to_string(size[i]) + " for " +
                            axis + ", expected " + std::to_string(least) + " to " +
                            std::to_string(whole + steps[i] - 1) + ", less than a stride from " +
                            std::to_string(whole));
    }
  }
  if (!given) std::fill(size, size + kAxes - x.rank, 1);
}

py::object max_unpool(int rank, const py::object& x, const py::object& indices, const py::object& kernel_size,
                      const py::object& stride, const py::object& padding, const py::object& output_size,
                      const py::object& data_format) {
  const std::string function = ranked_name("max_unpool", rank);
  Call call(function.c_str(), x, "x");
  const Array array = call.read(x, "x").contiguous();
  const PoolShape shape = read_pool_shape(function, "x", array.shape(), rank, data_format);
  const Memory positions = read_indices(call, indices, array.shape(), "x");
  std::int64_t size[kAxes];
  read_unpooled(function, shape, kernel_size, stride, padding, output_size, size);
  const Shape result = shape.with(shape.channels, size);
  if (call.logged()) call.say({&array}, "to " + shape_text(result));
  const NewArray y = new_like(array, result);
  const PoolPositions scatter = {call.function(), pool_view(array.data(), array.dtype(), shape, shape.size),
                                 pool_view(y.data, array.dtype(), shape, size),
                                 static_cast<const std::int64_t*>(positions.data()), shape.channels_last};
  call.run([&] { call.backend().scatter_values(scatter); });
  return y.object;
}

}  // namespace

void bind_pool(py::module_& m) {
  m.def("max_pool", &max_pool);
  m.def("avg_pool", &avg_pool);
  m.def("lp_pool", &lp_pool);
  m.def("adaptive_max_pool", [](int rank, const py::object& x, const py::object& output_size,
                                const py::object& return_indices, const py::object& data_format) {
    return adaptive_pool("adaptive_max_pool", PoolOperation::max, rank, x, output_size, return_indices,
                         data_format);
  });
  m.def("adaptive_avg_pool",
        [](int rank, const py::object& x, const py::object& output_size, const py::object& data_format) {
          return adaptive_pool("adaptive_avg_pool", PoolOperation::mean, rank, x, output_size,
                               py::bool_(false), data_format);
        });
  for (const bool max : {true, false}) {
    const PoolOperation operation = max ? PoolOperation::max : PoolOperation::mean;
    const std::string global = max ? "global_max_pool" : "global_avg_pool";
    const std::string channel = max ? "channel_max_pool" : "channel_avg_pool";
    m.def(global.c_str(), [global, operation](const py::object& x, const py::object& keepdims,
                                              const py::object& data_format) {
      return global_pool_of(global, operation, x, keepdims, data_format);
    });
    m.def(channel.c_str(), [channel, operation](const py::object& x, const py::object& pool_size,
                                                const py::object& stride, const py::object& data_format) {
      return channel_pool_of(channel, operation, x, pool_size, stride, data_format);
    });
  }
  m.def("max_unpool", &max_unpool);
  bind_pool_gradients(m);
  bind_pool_index(m);
}

}  // namespace fastconv::python
