// Gradients of pools. Upstream gradients are read C-contiguous; a copy is made of others.
#include "core/checked.h"
#include "python/call.h"
#include "python/pool_arguments.h"
#include "python/result.h"

namespace fastconv::python {
namespace {

py::object average_gradient(Call* call, const Array& dy, const PoolShape& shape, const PoolProblem& problem,
                            const Shape& dx_shape) {
  if (call->logged()) call->say({&dy}, "to " + shape_text(dx_shape));
  const Array upstream = dy.contiguous();
  const NewArray dx = new_like(dy, dx_shape);
  const ImageView dy_view =
      pool_view(upstream.data(), dy.dtype(), shape,
                {problem.axis[0].output, problem.axis[1].output, problem.axis[2].output});
  const ImageView dx_view = pool_view(dx.data, dy.dtype(), shape, shape.size);
  call->run([&] {
    call->backend().pool_gradient(problem, PoolOperation::mean, 0, dy_view, nullptr, nullptr, dx_view,
                                  shape.channels_last);
  });
  return dx.object;
}

py::object avg_pool_grad(int rank, const py::object& dy, const py::object& input_shape,
                         const py::object& kernel_size, const py::object& stride, const py::object& padding,
                         const py::object& dilation, const py::object& ceil_mode,
                         const py::object& count_include_pad, const py::object& divisor_override,
                         const py::object& data_format) {
  const std::string function = ranked_name("grad.avg_pool", rank);
  Call call(function.c_str(), dy, "dy");
  const Array upstream = call.read(dy, "dy");
  const PoolShape shape = read_pool_shape(
      function, "input_shape", read_shape(function.c_str(), "input_shape", input_shape), rank, data_format);
  PoolProblem problem = read_sliding(function, shape, kernel_size, stride, padding, dilation, ceil_mode);
  read_divisor(function, count_include_pad, divisor_override, &problem);
  require_shape(function, upstream, shape.pooled(problem));
  return average_gradient(&call, upstream, shape, problem, shape.shape());
}

py::object adaptive_avg_pool_grad(int rank, const py::object& dy, const py::object& input_shape,
                                  const py::object& data_format) {
  const std::string function = ranked_name("grad.adaptive_avg_pool", rank);
  Call call(function.c_str(), dy, "dy");
  const Array upstream = call.read(dy, "dy");
  const PoolShape shape = read_pool_shape(
      function, "input_shape", read_shape(function.c_str(), "input_shape", input_shape), rank, data_format);
  const PoolShape pooled = read_pool_shape(function, "dy", upstream.shape(), rank, data_format);
  const PoolProblem problem = adaptive_pool(function, shape.size, pooled.size);
  require_shape(function, upstream, shape.pooled(problem));
  return average_gradient(&call, upstream, shape, problem, shape.shape());
}

py::object lp_pool_grad(int rank, const py::object& dy, const py::object& x, const py::object& y,
                        const py::object& p, const py::object& kernel_size, const py::object& stride,
                        const py::object& padding, const py::object& ceil_mode,
                        const py::object& data_format) {
  const std::string function = ranked_name("grad.lp_pool", rank);
  Call call(function.c_str(), x, "x");
  const Array input = call.read(x, "x").contiguous();
  const Array upstream = call.read(dy, "dy").contiguous();
  const Array norms = call.read(y, "y").contiguous();
  require_same_dtype(function.c_str(), upstream, input);
  require_same_dtype(function.c_str(), upstream, norms);
  const PoolShape shape = read_pool_shape(function, "x", input.shape(), rank, data_format);
  const double norm = read_norm(function, p);
  PoolProblem problem = read_sliding(function, shape, kernel_size, stride, padding, py::int_(1), ceil_mode);
  problem.divisor_override = 1;
  require_shape(function, upstream, shape.pooled(problem));
  require_shape(function, norms, shape.pooled(problem));
  if (call.logged()) call.say({&upstream}, "to " + shape_text(input.shape()));
  const NewArray dx = new_like(input, input.shape());
  const ImageView dy_view =
      pool_view(upstream.data(), upstream.dtype(), shape,
                {problem.axis[0].output, problem.axis[1].output, problem.axis[2].output});
  const ImageView dx_view = pool_view(dx.data, input.dtype(), shape, shape.size);
  call.run([&] {
    call.backend().pool_gradient(problem, PoolOperation::power, norm, dy_view, input.data(), norms.data(),
                                 dx_view, shape.channels_last);
  });
  return dx.object;
}

py::object max_pool_grad(const char* base, int rank, const py::object& dy, const py::object& indices,
                         const py::object& input_shape, const py::object& data_format) {
  const std::string function = ranked_name(base, rank);
  Call call(function.c_str(), dy, "dy");
  const Array upstream = call.read(dy, "dy").contiguous();
  const PoolShape shape = read_pool_shape(
      function, "input_shape", read_shape(function.c_str(), "input_shape", input_shape), rank, data_format);
  const PoolShape pooled = read_pool_shape(function, "dy", upstream.shape(), rank, data_format);
  require_shape(function, upstream, shape.with(shape.channels, pooled.size));
  const Memory positions = read_indices(call, indices, upstream.shape(), "dy");
  if (call.logged()) call.say({&upstream}, "to " + shape_text(shape.shape()));
  const NewArray dx = new_like(upstream, shape.shape());
  const PoolPositions scatter = {function.c_str(),
                                 pool_view(upstream.data(), upstream.dtype(), shape, pooled.size),
                                 pool_view(dx.data, upstream.dtype(), shape, shape.size),
                                 static_cast<const std::int64_t*>(positions.data()), shape.channels_last};
  call.run([&] { call.backend().scatter_sums(scatter); });
  return dx.object;
}

py::object max_unpool_grad(int rank, const py::object& dy, const py::object& indices,
                           const py::object& input_shape, const py::object& data_format) {
  const std::string function = ranked_name("grad.max_unpool", rank);
  Call call(function.c_str(), dy, "dy");
  const Array upstream = call.read(dy, "dy").contiguous();
  const PoolShape shape = read_pool_shape(
      function, "input_shape", read_shape(function.c_str(), "input_shape", input_shape), rank, data_format);
  const PoolShape unpooled = read_pool_shape(function, "dy", upstream.shape(), rank, data_format);
  require_shape(function, upstream, shape.with(shape.channels, unpooled.size));
  const Memory positions = read_indices(call, indices, shape.shape(), "input_shape");
  if (call.logged()) call.say({&upstream}, "to " + shape_text(shape.shape()));
  const NewArray dx = new_like(upstream, shape.shape());
  const PoolPositions gather = {function.c_str(), pool_view(dx.data, upstream.dtype(), shape, shape.size),
                                pool_view(upstream.data(), upstream.dtype(), shape, unpooled.size),
                                static_cast<const std::int64_t*>(positions.data()), shape.channels_last};
  call.run([&] { call.backend().gather_values(gather); });
  return dx.object;
}

// The maxima are looked for again: their places are what the gradient needs.
py::object maximum_gradient(Call* call, const Array& dy, const Array& x, const ReshapedPool& r) {
  require_same_dtype(call->function(), dy, x);
  require_shape(call->function(), dy, r.result);
  require_indexable(call->function(), r.problem);
  if (call->logged()) call->say({&dy}, "to " + shape_text(x.shape()));
  const Array upstream = dy.contiguous();
  const PoolInput input = reshaped_input(x, r.shape);
  const NewArray dx = new_like(x, x.shape());
  const std::int64_t pooled[kAxes] = {r.problem.axis[0].output, r.problem.axis[1].output,
                                      r.problem.axis[2].output};
  const ImageView dy_view = pool_view(upstream.data(), dy.dtype(), r.shape, pooled);
  const ImageView dx_view = pool_view(dx.data, dy.dtype(), r.shape, r.shape.size);
  const std::int64_t elements = upstream.elements();
  call->run([&] {
    Backend& backend = call->backend();
    const Workspace maxima = backend.workspace(elements * size_of(x.dtype())),
                    places = backend.workspace(checked_product({call->function(), "x"}, {elements, 8}));
    auto* indices = static_cast<std::int64_t*>(places.get());
    backend.pool(r.problem, PoolOperation::max, 0, input.view,
                 pool_view(maxima.get(), x.dtype(), r.shape, pooled), indices, r.shape.channels_last);
    backend.scatter_sums({call->function(), dy_view, dx_view, indices, r.shape.channels_last});
  });
  return dx.object;
}

py::object global_max_pool_grad(const py::object& dy, const py::object& x, const py::object& keepdims,
                                const py::object& data_format) {
  const std::string function = "grad.global_max_pool";
  Call call(function.c_str(), x, "x");
  const Array input = call.read(x, "x"), upstream = call.read(dy, "dy");
  return maximum_gradient(&call, upstream, input,
                          global_pool(function, "x", input.shape(), keepdims, data_format));
}

py::object channel_max_pool_grad(const py::object& dy, const py::object& x, const py::object& pool_size,
                                 const py::object& stride, const py::object& data_format) {
  const std::string function = "grad.channel_max_pool";
  Call call(function.c_str(), x, "x");
  const Array input = call.read(x, "x"), upstream = call.read(dy, "dy");
  return maximum_gradient(&call, upstream, input,
                          channel_pool(function, "x", input.shape(), pool_size, stride, data_format));
}

py::object global_avg_pool_grad(const py::object& dy, const py::object& input_shape,
                                const py::object& keepdims, const py::object& data_format) {
  const std::string function = "grad.global_avg_pool";
  Call call(function.c_str(), dy, "dy");
  const Array upstream = call.read(dy, "dy");
  const Shape shape = read_shape(function.c_str(), "input_shape", input_shape);
  const ReshapedPool r = global_pool(function, "input_shape", shape, keepdims, data_format);
  require_shape(function, upstream, r.result);
  return average_gradient(&call, upstream, r.shape, r.problem, shape);
}

py::object channel_avg_pool_grad(const py::object& dy, const py::object& input_shape,
                                 const py::object& pool_size, const py::object& stride,
                                 const py::object& data_format) {
  const std::string function = "grad.channel_avg_pool";
  Call call(function.c_str(), dy, "dy");
  const Array upstream = call.read(dy, "dy");
  const Shape shape = read_shape(function.c_str(), "input_shape", input_shape);
  const ReshapedPool r = channel_pool(function, "input_shape", shape, pool_size, stride, data_format);
  require_shape(function, upstream, r.result);
  return average_gradient(&call, upstream, r.shape, r.problem, shape);
}

}  // namespace

void bind_pool_gradients(py::module_& m) {
  for (const char* const base : {"max_pool", "adaptive_max_pool"}) {
    m.def((std::string(base) + "_grad").c_str(),
          [name = std::string("grad.") + base](int rank, const py::object& dy, const py::object& indices,
                                               const py::object& input_shape, const py::object& data_format) {
            return max_pool_grad(name.c_str(), rank, dy, indices, input_shape, data_format);
          });
  }
  m.def("avg_pool_grad", &avg_pool_grad);
  m.def("lp_pool_grad", &lp_pool_grad);
  m.def("adaptive_avg_pool_grad", &adaptive_avg_pool_grad);
  m.def("global_max_pool_grad", &global_max_pool_grad);
  m.def("global_avg_pool_grad", &global_avg_pool_grad);
  m.def("channel_max_pool_grad", &channel_max_pool_grad);
  m.def("channel_avg_pool_grad", &channel_avg_pool_grad);
  m.def("max_unpool_grad", &max_unpool_grad);
}

}  // namespace fastconv::python
