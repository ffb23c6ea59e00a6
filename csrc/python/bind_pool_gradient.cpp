// Gradients of pools. Upstream gradients are read C-contiguous; a copy is made of others.
#include "core/buffer_pool.h"
#include "core/checked.h"
#include "python/call_log.h"
#include "python/pool_arguments.h"

namespace fastconv::python {
namespace {

py::object average_gradient(const std::string& function, CallLog* log, const Array& dy,
                            const PoolShape& shape, const PoolProblem& problem, const Shape& dx_shape) {
  if (log->wanted()) log->say({&dy}, "to " + shape_text(dx_shape));
  const Array upstream = dy.contiguous();
  py::array dx = new_array(function, dx_shape, dy.numpy_dtype());
  const ImageView dy_view =
      pool_view(upstream.data(), dy.dtype(), shape,
                {problem.axis[0].output, problem.axis[1].output, problem.axis[2].output});
  const ImageView dx_view = pool_view(dx.mutable_data(), dy.dtype(), shape, shape.size);
  without_gil(function, [&] {
    cpu::pool_gradient(problem, PoolOperation::mean, 0, dy_view, nullptr, nullptr, dx_view,
                       shape.channels_last);
  });
  return dx;
}

py::object avg_pool_grad(int rank, const py::object& dy, const py::object& input_shape,
                         const py::object& kernel_size, const py::object& stride, const py::object& padding,
                         const py::object& dilation, const py::object& ceil_mode,
                         const py::object& count_include_pad, const py::object& divisor_override,
                         const py::object& data_format) {
  const std::string function = ranked_name("grad.avg_pool", rank);
  CallLog log(function.c_str());
  const Array upstream(dy, function.c_str(), "dy");
  const PoolShape shape = read_pool_shape(
      function, "input_shape", read_shape(function.c_str(), "input_shape", input_shape), rank, data_format);
  PoolProblem problem = read_sliding(function, shape, kernel_size, stride, padding, dilation, ceil_mode);
  read_divisor(function, count_include_pad, divisor_override, &problem);
  require_shape(function, upstream, shape.pooled(problem));
  return average_gradient(function, &log, upstream, shape, problem, shape.shape());
}

py::object adaptive_avg_pool_grad(int rank, const py::object& dy, const py::object& input_shape,
                                  const py::object& data_format) {
  const std::string function = ranked_name("grad.adaptive_avg_pool", rank);
  CallLog log(function.c_str());
  const Array upstream(dy, function.c_str(), "dy");
  const PoolShape shape = read_pool_shape(
      function, "input_shape", read_shape(function.c_str(), "input_shape", input_shape), rank, data_format);
  const PoolShape pooled = read_pool_shape(function, "dy", upstream.shape(), rank, data_format);
  const PoolProblem problem = adaptive_pool(function, shape.size, pooled.size);
  require_shape(function, upstream, shape.pooled(problem));
  return average_gradient(function, &log, upstream, shape, problem, shape.shape());
}

py::object lp_pool_grad(int rank, const py::object& dy, const py::object& x, const py::object& y,
                        const py::object& p, const py::object& kernel_size, const py::object& stride,
                        const py::object& padding, const py::object& ceil_mode,
                        const py::object& data_format) {
  const std::string function = ranked_name("grad.lp_pool", rank);
  CallLog log(function.c_str());
  const Array upstream = Array(dy, function.c_str(), "dy").contiguous();
  const Array input = Array(x, function.c_str(), "x").contiguous();
  const Array norms = Array(y, function.c_str(), "y").contiguous();
  require_same_dtype(function.c_str(), upstream, input);
  require_same_dtype(function.c_str(), upstream, norms);
  const PoolShape shape = read_pool_shape(function, "x", input.shape(), rank, data_format);
  const double norm = read_norm(function, p);
  PoolProblem problem = read_sliding(function, shape, kernel_size, stride, padding, py::int_(1), ceil_mode);
  problem.divisor_override = 1;
  require_shape(function, upstream, shape.pooled(problem));
  require_shape(function, norms, shape.pooled(problem));
  if (log.wanted()) log.say({&upstream}, "to " + shape_text(input.shape()));
  py::array dx = new_array(function, input.shape(), input.numpy_dtype());
  const ImageView dy_view =
      pool_view(upstream.data(), upstream.dtype(), shape,
                {problem.axis[0].output, problem.axis[1].output, problem.axis[2].output});
  const ImageView dx_view = pool_view(dx.mutable_data(), input.dtype(), shape, shape.size);
  without_gil(function, [&] {
    cpu::pool_gradient(problem, PoolOperation::power, norm, dy_view, input.data(), norms.data(), dx_view,
                       shape.channels_last);
  });
  return dx;
}

py::object max_pool_grad(const char* base, int rank, const py::object& dy, const py::object& indices,
                         const py::object& input_shape, const py::object& data_format) {
  const std::string function = ranked_name(base, rank);
  CallLog log(function.c_str());
  const Array upstream = Array(dy, function.c_str(), "dy").contiguous();
  const PoolShape shape = read_pool_shape(
      function, "input_shape", read_shape(function.c_str(), "input_shape", input_shape), rank, data_format);
  const PoolShape pooled = read_pool_shape(function, "dy", upstream.shape(), rank, data_format);
  require_shape(function, upstream, shape.with(shape.channels, pooled.size));
  const py::array positions = read_indices(function, indices, upstream.shape(), "dy");
  if (log.wanted()) log.say({&upstream}, "to " + shape_text(shape.shape()));
  py::array dx = new_array(function, shape.shape(), upstream.numpy_dtype());
  const cpu::PoolPositions scatter = {
      function.c_str(), pool_view(upstream.data(), upstream.dtype(), shape, pooled.size),
      pool_view(dx.mutable_data(), upstream.dtype(), shape, shape.size),
      static_cast<const std::int64_t*>(positions.data()), shape.channels_last};
  without_gil(function, [&] { cpu::scatter_sums(scatter); });
  return dx;
}

py::object max_unpool_grad(int rank, const py::object& dy, const py::object& indices,
                           const py::object& input_shape, const py::object& data_format) {
  const std::string function = ranked_name("grad.max_unpool", rank);
  CallLog log(function.c_str());
  const Array upstream = Array(dy, function.c_str(), "dy").contiguous();
  const PoolShape shape = read_pool_shape(
      function, "input_shape", read_shape(function.c_str(), "input_shape", input_shape), rank, data_format);
  const PoolShape unpooled = read_pool_shape(function, "dy", upstream.shape(), rank, data_format);
  require_shape(function, upstream, shape.with(shape.channels, unpooled.size));
  const py::array positions = read_indices(function, indices, shape.shape(), "input_shape");
  if (log.wanted()) log.say({&upstream}, "to " + shape_text(shape.shape()));
  py::array dx = new_array(function, shape.shape(), upstream.numpy_dtype());
  const cpu::PoolPositions gather = {function.c_str(),
                                     pool_view(dx.mutable_data(), upstream.dtype(), shape, shape.size),
                                     pool_view(upstream.data(), upstream.dtype(), shape, unpooled.size),
                                     static_cast<const std::int64_t*>(positions.data()), shape.channels_last};
  without_gil(function, [&] { cpu::gather_values(gather); });
  return dx;
}

// The maxima are looked for again: their places are what the gradient needs.
py::object maximum_gradient(const std::string& function, CallLog* log, const Array& dy, const Array& x,
                            const ReshapedPool& r) {
  require_same_dtype(function.c_str(), dy, x);
  require_shape(function, dy, r.result);
  require_indexable(function, r.problem);
  if (log->wanted()) log->say({&dy}, "to " + shape_text(x.shape()));
  const Array upstream = dy.contiguous();
  const PoolInput input = reshaped_input(x, r.shape);
  py::array dx = new_array(function, x.shape(), x.numpy_dtype());
  const std::int64_t pooled[kAxes] = {r.problem.axis[0].output, r.problem.axis[1].output,
                                      r.problem.axis[2].output};
  const ImageView dy_view = pool_view(upstream.data(), dy.dtype(), r.shape, pooled);
  const ImageView dx_view = pool_view(dx.mutable_data(), dy.dtype(), r.shape, r.shape.size);
  const std::int64_t elements = upstream.elements();
  without_gil(function, [&] {
    const Buffer maxima(elements * size_of(x.dtype())),
        indices(checked_product({function, "x"}, {elements, 8}));
    cpu::pool(r.problem, PoolOperation::max, 0, input.view,
              pool_view(maxima.data(), x.dtype(), r.shape, pooled), indices.as<std::int64_t>(),
              r.shape.channels_last);
    cpu::scatter_sums(
        {function.c_str(), dy_view, dx_view, indices.as<std::int64_t>(), r.shape.channels_last});
  });
  return dx;
}

py::object global_max_pool_grad(const py::object& dy, const py::object& x, const py::object& keepdims,
                                const py::object& data_format) {
  const std::string function = "grad.global_max_pool";
  CallLog log(function.c_str());
  const Array upstream(dy, function.c_str(), "dy"), input(x, function.c_str(), "x");
  return maximum_gradient(function, &log, upstream, input,
                          global_pool(function, "x", input.shape(), keepdims, data_format));
}

py::object channel_max_pool_grad(const py::object& dy, const py::object& x, const py::object& pool_size,
                                 const py::object& stride, const py::object& data_format) {
  const std::string function = "grad.channel_max_pool";
  CallLog log(function.c_str());
  const Array upstream(dy, function.c_str(), "dy"), input(x, function.c_str(), "x");
  return maximum_gradient(function, &log, upstream, input,
                          channel_pool(function, "x", input.shape(), pool_size, stride, data_format));
}

py::object global_avg_pool_grad(const py::object& dy, const py::object& input_shape,
                                const py::object& keepdims, const py::object& data_format) {
  const std::string function = "grad.global_avg_pool";
  CallLog log(function.c_str());
  const Array upstream(dy, function.c_str(), "dy");
  const Shape shape = read_shape(function.c_str(), "input_shape", input_shape);
  const ReshapedPool r = global_pool(function, "input_shape", shape, keepdims, data_format);
  require_shape(function, upstream, r.result);
  return average_gradient(function, &log, upstream, r.shape, r.problem, shape);
}

py::object channel_avg_pool_grad(const py::object& dy, const py::object& input_shape,
                                 const py::object& pool_size, const py::object& stride,
                                 const py::object& data_format) {
  const std::string function = "grad.channel_avg_pool";
  CallLog log(function.c_str());
  const Array upstream(dy, function.c_str(), "dy");
  const Shape shape = read_shape(function.c_str(), "input_shape", input_shape);
  const ReshapedPool r = channel_pool(function, "input_shape", shape, pool_size, stride, data_format);
  require_shape(function, upstream, r.result);
  return average_gradient(function, &log, upstream, r.shape, r.problem, shape);
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
