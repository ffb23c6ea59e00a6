// Convolutions, with a max pool behind them too, transposed convolutions, their gradients, linear layers.
#include <algorithm>

#include "core/conv_problem.h"
#include "python/call.h"
#include "python/conv_arguments.h"
#include "python/pool_index.h"
#include "python/result.h"

namespace fastconv::python {
namespace {

ImageView result_view(const ConvCall& c, void* data, Dtype dtype) {
  return contiguous_image(data, dtype, c.problem.batch, c.result_channels(), c.result_size(),
                          c.channels_last);
}

FilterView filter_view(const ConvProblem& p, void* data, Dtype dtype) {
  return {data, dtype, p.out_channels, p.channels_per_group(), p.taps()};
}

// dw, whose images are exchanged in a transposed convolution.
void weight_gradient(const ConvCall& c, const ConvRoute& route, const ImageView& dz, const ImageView& x,
                     const FilterView& dw) {
  if (c.transposed) {
    route.filters(x, dz, dw);
  } else {
    route.filters(dz, x, dw);
  }
}

Epilogue epilogue_of(const Array* b, Activation activation) {
  return {b ? b->data() : nullptr, b ? b->stride(0) : 1, activation};
}

std::optional<Array> read_bias(const ConvCall& c, const Call& call, const py::object& b, const Array& x) {
  if (b.is_none()) return std::nullopt;
  Array bias = call.read(b, "b");
  require_same_dtype(call.function(), x, bias);
  if (bias.ndim() != 1 || bias.size(0) != c.result_channels()) {
    throw py::value_error(c.function + ": b has shape " + shape_text(bias.shape()) + ", expected " +
                          shape_text({c.result_channels()}) + ", one value for each output channel");
  }
  return bias;
}

// The arrays of a forward call, which complete it.
struct ForwardArrays {
  Array x, w;
  ImageView from;
  std::optional<Array> b;

  ForwardArrays(ConvCall* c, const Call& call, const py::object& x_object, const py::object& w_object,
                const py::object& b_object)
      : x(call.read(x_object, "x")), w(call.read(w_object, "w").contiguous()) {
    require_same_dtype(call.function(), x, w);
    from = c->complete(x, w.shape());
    b = read_bias(*c, call, b_object, x);
  }
  void run(const ConvCall& c, const ConvRoute& route, const ImageView& images, const ImageView& to) const {
    route.images(images, filter_view(c.problem, w.data(), w.dtype()),
                 epilogue_of(b ? &*b : nullptr, c.activation), to);
  }
};

py::object forward(ConvCall c, const py::object& x, const py::object& w, const py::object& b,
                   const py::object& out) {
  Call call(c.function.c_str(), x, "x");
  const ForwardArrays a(&c, call, x, w, b);
  const auto route = c.route(call.backend(), c.forward_direction(), a.x.dtype());
  if (call.logged()) call.say({&a.x, &a.w}, route_text(c.precision, route->name()));
  Result y(out, c.result_shape(), a.x, {&a.x, &a.w, a.b ? &*a.b : nullptr});
  const ImageView to = result_view(c, y.data(), a.x.dtype());
  call.run([&] { a.run(c, *route, a.from, to); });
  return y.finish();
}

ImageView images_of(const ImageView& v, std::int64_t first, std::int64_t count) {
  ImageView part = v;
  part.data = element(v.data, v.dtype, first * v.batch_stride);
  part.batch = count;
  return part;
}

// (y, index or None): the maxima of a convolution's result, of which some images at a time are ever there.
py::tuple pooled_forward(int rank, ConvCall c, const py::object& x, const py::object& w, const py::object& b,
                         const py::object& kernel_size, const py::object& stride, const py::object& padding,
                         const py::object& dilation, const py::object& ceil_mode,
                         const py::object& data_format, const py::object& with_index) {
  const std::string pool_name = ranked_name("max_pool", rank);
  const bool indexed = read_flag(pool_name, "with_index", with_index);
  if (indexed) Place::host().require(x, c.function.c_str(), "x");
  Call call(c.function.c_str(), x, "x");
  const ForwardArrays a(&c, call, x, w, b);
  const Dtype dtype = a.x.dtype();
  Backend& backend = call.backend();
  ConvCall part = c;
  part.problem.batch = backend.images_at_once(c.problem, dtype);
  auto route = part.route(backend, Direction::forward, dtype);
  const PoolShape shape = read_pool_shape(pool_name, "x", c.result_shape(), rank, data_format);
  const PoolProblem pool = read_sliding(pool_name, shape, kernel_size, stride, padding, dilation, ceil_mode);
  if (call.logged()) {
    call.say({&a.x, &a.w}, route_text(c.precision, route->name()) + ", then " + pool_name + " to " +
                               shape_text(shape.pooled(pool)));
  }
  const NewArray y = new_like(a.x, shape.pooled(pool));
  auto index = indexed ? std::make_unique<PoolIndex>(a.x, shape, pool) : nullptr;
  const ImageView pooled =
      pool_view(y.data, dtype, shape, {pool.axis[0].output, pool.axis[1].output, pool.axis[2].output});
  call.run([&] {
    const std::int64_t batch = c.problem.batch, at_once = part.problem.batch;
    ImageView images = result_view(part, nullptr, dtype);
    const Workspace memory = backend.workspace(at_once * images.batch_stride * size_of(dtype));
    images.data = memory.get();
    for (std::int64_t first = 0; first < batch; first += at_once) {
      const std::int64_t count = std::min(at_once, batch - first);
      if (count != part.problem.batch) {
        part.problem.batch = images.batch = count;
        route = part.route(backend, Direction::forward, dtype);
      }
      a.run(part, *route, images_of(a.from, first, count), images);
      const ImageView to = images_of(pooled, first, count);
      if (index) {
        index->pool(images, to, first);
      } else {
        backend.pool(pool, PoolOperation::max, 0, images, to, nullptr, shape.channels_last);
      }
    }
  });
  return py::make_tuple(y.object, index ? py::cast(std::move(index)) : py::none());
}

// An array of the result's shape: dy, or y.
Array read_result_like(const ConvCall& c, const Call& call, const py::object& object, const char* name,
                       const Array& x) {
  Array a = call.read(object, name);
  require_same_dtype(call.function(), x, a);
  if (a.shape() != c.result_shape()) {
    throw py::value_error(c.function + ": " + name + " has shape " + shape_text(a.shape()) +
                          ", expected the result's, " + shape_text(c.result_shape()));
  }
  return a;
}

// The gradients of one call, those that are wanted.
struct Gradients {
  std::optional<NewArray> dx, dw, db;

  Gradients(const std::array<bool, 3>& needs, const Array& x, const Array& w, std::int64_t out_channels) {
    if (needs[0]) dx = new_like(x, x.shape());
    if (needs[1]) dw = new_like(x, w.shape());
    if (needs[2]) db = new_like(x, {out_channels});
  }
  py::tuple finish() const {
    const auto or_none = [](const std::optional<NewArray>& a) { return a ? a->object : py::none(); };
    return py::make_tuple(or_none(dx), or_none(dw), or_none(db));
  }
};

// dy times the activation's slope, laid out as the result, in the compute type: it is rounded once, with the
// gradients. For gelu and silu what came before them is computed again, by the route `forward`.
Workspace through_activation(const ConvCall& c, Backend& backend, const ConvRoute* forward,
                             const ImageView& from, const FilterView& w, const Array* b, const Array& dy,
                             const Array* y) {
  const Dtype compute = compute_dtype(dy.dtype());
  const std::int64_t bytes = dy.elements() * size_of(compute);
  Workspace dz = backend.workspace(bytes), before;
  if (!y) {
    before = backend.workspace(bytes);
    forward->images(from, w, epilogue_of(b, Activation::none), result_view(c, before.get(), compute));
  }
  backend.activation_gradient(c.activation, dy.dtype(), dy.data(), y ? y->data() : before.get(), dz.get(),
                              dy.elements());
  return dz;
}

py::tuple gradient(ConvCall c, const py::object& dy_object, const py::object& x_object,
                   const py::object& w_object, const py::object& b_object, const py::object& y_object,
                   const py::object& needs_object) {
  Call call(c.function.c_str(), x_object, "x");
  const std::array<bool, 3> needs = read_needs(c.function, needs_object);
  const Array x = call.read(x_object, "x");
  const Array w = call.read(w_object, "w").contiguous();
  require_same_dtype(call.function(), x, w);
  const ImageView from = c.complete(x, w.shape());
  Array dy = read_result_like(c, call, dy_object, "dy", x);
  const std::optional<Array> b = read_bias(c, call, b_object, x);
  const bool active = c.activation != Activation::none;
  std::optional<Array> y;
  if (c.slope_needs_result()) {
    if (y_object.is_none()) {
      throw py::value_error(c.function + ": activation='" + name_of(c.activation) +
                            "' needs y, the forward's result");
    }
    y = read_result_like(c, call, y_object, "y", x).contiguous();
  }
  if (active) dy = dy.contiguous();
  const Dtype dtype = x.dtype();
  Backend& backend = call.backend();
  std::unique_ptr<ConvRoute> to_dx, to_dw, to_y;
  if (needs[0]) to_dx = c.route(backend, c.adjoint_direction(), dtype);
  if (needs[1]) to_dw = c.route(backend, Direction::weight_gradient, dtype);
  if (active && !y) to_y = c.route(backend, c.forward_direction(), dtype);
  if (call.logged()) {
    const auto name = [](const auto& route) { return route ? route->name() : nullptr; };
    call.say({&x, &w}, route_text(c.precision, routes_text(name(to_dx), name(to_dw))));
  }

  const Gradients to(needs, x, w, c.result_channels());
  const FilterView filters = filter_view(c.problem, w.data(), dtype);
  bool unused;
  ImageView dz = image_view(dy, call.function(), c.problem.rank, c.channels_last, &unused);
  call.run([&] {
    Workspace scaled;
    if (active) {
      scaled =
          through_activation(c, backend, to_y.get(), from, filters, b ? &*b : nullptr, dy, y ? &*y : nullptr);
      dz = result_view(c, scaled.get(), compute_dtype(dtype));
    }
    if (to.dx) {
      to_dx->images(
          dz, filters, {},
          contiguous_image(to.dx->data, dtype, from.batch, from.channels, from.size, c.channels_last));
    }
    if (to.dw) weight_gradient(c, *to_dw, dz, from, filter_view(c.problem, to.dw->data, dtype));
    if (to.db) backend.channel_sums(dz, dtype, to.db->data);
  });
  return to.finish();
}

// y[r] = activation(x[r] . w^T + b): a convolution with kernel 1 over the rows of x as images of one pixel,
// channels_last.
struct LinearCall {
  Array x, w;
  std::int64_t rows;
  ConvProblem problem;
  Precision precision;
  Shape result_shape;

  LinearCall(const Call& call, const py::object& x_object, const py::object& w_object,
             const py::object& precision_object)
      : x(call.read(x_object, "x").contiguous()), w(call.read(w_object, "w").contiguous()) {
    const std::string function = call.function();
    require_same_dtype(call.function(), x, w);
    if (w.ndim() != 2 || w.size(0) < 1 || w.size(1) < 1) {
      throw py::value_error(function + ": w has shape " + shape_text(w.shape()) + ", expected (out, in)");
    }
    if (x.ndim() < 1 || x.size(x.ndim() - 1) != w.size(1)) {
      throw py::value_error(function + ": x has shape " + shape_text(x.shape()) + ", but w of shape " +
                            shape_text(w.shape()) + " reads (..., " + std::to_string(w.size(1)) + ")");
    }
    rows = x.elements() / w.size(1);
    result_shape = x.shape();
    result_shape.back() = w.size(0);
    problem.batch = rows;
    problem.in_channels = w.size(1);
    problem.out_channels = w.size(0);
    precision = read_precision(function, precision_object);
  }
  ImageView image(void* data, std::int64_t features) const {
    return contiguous_image(data, x.dtype(), rows, features, problem.input, true);
  }
  FilterView filters(void* data) const { return {data, x.dtype(), w.size(0), w.size(1), 1}; }
  std::unique_ptr<ConvRoute> route(const Call& call, Direction direction) const {
    return call.backend().conv_route(call.function(), problem, direction, x.dtype(), precision, kRoute);
  }
  void log(Call* call) const {
    if (call->logged()) call->say({&x, &w}, route_text(precision, kRoute));
  }

 private:
  static constexpr const char* kRoute = "implicit_gemm";
};

py::object linear(const py::object& x_object, const py::object& w_object, const py::object& b_object,
                  const py::object& activation_object, const py::object& precision, const py::object& out) {
  Call call("linear", x_object, "x");
  const Activation activation = read_activation("linear", activation_object);
  const LinearCall c(call, x_object, w_object, precision);
  std::optional<Array> b;
  if (!b_object.is_none()) {
    b = call.read(b_object, "b");
    require_same_dtype(call.function(), c.x, *b);
    if (b->ndim() != 1 || b->size(0) != c.w.size(0)) {
      throw py::value_error("linear: b has shape " + shape_text(b->shape()) + ", expected " +
                            shape_text({c.w.size(0)}));
    }
  }
  const auto route = c.route(call, Direction::forward);
  c.log(&call);
  Result y(out, c.result_shape, c.x, {&c.x, &c.w, b ? &*b : nullptr});
  const ImageView to = c.image(y.data(), c.w.size(0));
  call.run([&] {
    route->images(c.image(c.x.data(), c.w.size(1)), c.filters(c.w.data()),
                  epilogue_of(b ? &*b : nullptr, activation), to);
  });
  return y.finish();
}

py::tuple linear_gradient(const py::object& dy_object, const py::object& x_object, const py::object& w_object,
                          const py::object& needs_object, const py::object& precision) {
  Call call("grad.linear", x_object, "x");
  const std::array<bool, 3> needs = read_needs(call.function(), needs_object);
  const LinearCall c(call, x_object, w_object, precision);
  const Array dy = call.read(dy_object, "dy").contiguous();
  require_same_dtype(call.function(), c.x, dy);
  if (dy.shape() != c.result_shape) {
    throw py::value_error("grad.linear: dy has shape " + shape_text(dy.shape()) + ", expected " +
                          shape_text(c.result_shape));
  }
  c.log(&call);
  const Gradients to(needs, c.x, c.w, c.w.size(0));
  call.run([&] {
    const ImageView dz = c.image(dy.data(), c.w.size(0));
    if (to.dx) {
      c.route(call, Direction::input_gradient)
          ->images(dz, c.filters(c.w.data()), {}, c.image(to.dx->data, c.w.size(1)));
    }
    if (to.dw) {
      c.route(call, Direction::weight_gradient)
          ->filters(dz, c.image(c.x.data(), c.w.size(1)), c.filters(to.dw->data));
    }
    if (to.db) call.backend().channel_sums(dz, dy.dtype(), to.db->data);
  });
  return to.finish();
}

}  // namespace

void bind_convolution(py::module_& m) {
  using O = const py::object&;
  m.def("conv", [](int rank, O x, O w, O b, O stride, O padding, O dilation, O groups, O padding_mode,
                   O data_format, O activation, O precision, O algorithm, O out) {
    return forward(ConvCall("conv", rank, false, stride, padding, py::int_(0), dilation, groups, padding_mode,
                            data_format, activation, precision, algorithm),
                   x, w, b, out);
  });
  m.def("conv_max_pool", [](int rank, O x, O w, O b, O stride, O padding, O dilation, O groups,
                            O padding_mode, O data_format, O activation, O precision, O kernel_size,
                            O pool_stride, O pool_padding, O pool_dilation, O ceil_mode, O with_index) {
    return pooled_forward(rank,
                          ConvCall("conv", rank, false, stride, padding, py::int_(0), dilation, groups,
                                   padding_mode, data_format, activation, precision, py::str("auto")),
                          x, w, b, kernel_size, pool_stride, pool_padding, pool_dilation, ceil_mode,
                          data_format, with_index);
  });
  m.def("conv_transpose", [](int rank, O x, O w, O b, O stride, O padding, O output_padding, O dilation,
                             O groups, O data_format, O activation, O precision, O algorithm, O out) {
    return forward(ConvCall("conv_transpose", rank, true, stride, padding, output_padding, dilation, groups,
                            py::str("zeros"), data_format, activation, precision, algorithm),
                   x, w, b, out);
  });
  m.def("conv_grad", [](int rank, O dy, O x, O w, O b, O y, O needs, O stride, O padding, O dilation,
                        O groups, O padding_mode, O data_format, O activation, O precision, O algorithm) {
    return gradient(ConvCall("grad.conv", rank, false, stride, padding, py::int_(0), dilation, groups,
                             padding_mode, data_format, activation, precision, algorithm),
                    dy, x, w, b, y, needs);
  });
  m.def("conv_transpose_grad", [](int rank, O dy, O x, O w, O b, O y, O needs, O stride, O padding,
                                  O output_padding, O dilation, O groups, O data_format, O activation,
                                  O precision, O algorithm) {
    return gradient(ConvCall("grad.conv_transpose", rank, true, stride, padding, output_padding, dilation,
                             groups, py::str("zeros"), data_format, activation, precision, algorithm),
                    dy, x, w, b, y, needs);
  });
  m.def("linear", &linear);
  m.def("linear_grad", &linear_gradient);
  m.def("set_precision", &set_default_precision);
  m.def("hold_precision", &hold_precision);
  m.def("get_precision", &default_precision);
  m.def("set_verbose_callback", &set_verbose_callback);
  bind_explain(m);
}

}  // namespace fastconv::python
