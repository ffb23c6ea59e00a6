// Convolutions, transposed convolutions, their gradients, linear layers.
#include "core/conv_problem.h"
#include "cpu/channel_sums.h"
#include "cpu/convolution.h"
#include "cpu/elementwise.h"
#include "python/array.h"
#include "python/call_log.h"
#include "python/conv_arguments.h"

namespace fastconv::python {
namespace {

ImageView result_view(const ConvCall& c, void* data, Dtype dtype) {
  return contiguous_image(data, dtype, c.problem.batch, c.result_channels(), c.result_size(),
                          c.channels_last);
}

FilterView filter_view(const ConvProblem& p, void* data, Dtype dtype) {
  return {data, dtype, p.out_channels, p.channels_per_group(), p.taps()};
}

// x to y, or for a transposed convolution dy to dx of the problem it is the gradient of.
void apply(const ConvCall& c, const cpu::Plan& plan, const ImageView& from, const FilterView& w,
           const Epilogue& epilogue, const ImageView& to) {
  if (c.transposed) {
    cpu::conv_input_gradient(plan, c.problem, from, w, epilogue, to);
  } else {
    cpu::conv_forward(plan, c.problem, from, w, epilogue, to);
  }
}

void apply_adjoint(const ConvCall& c, const cpu::Plan& plan, const ImageView& from, const FilterView& w,
                   const ImageView& to) {
  if (c.transposed) {
    cpu::conv_forward(plan, c.problem, from, w, {}, to);
  } else {
    cpu::conv_input_gradient(plan, c.problem, from, w, {}, to);
  }
}

void weight_gradient(const ConvCall& c, const cpu::Plan& plan, const ImageView& dz, const ImageView& x,
                     const FilterView& dw) {
  if (c.transposed) {
    cpu::conv_weight_gradient(plan, c.problem, x, dz, dw);
  } else {
    cpu::conv_weight_gradient(plan, c.problem, dz, x, dw);
  }
}

Epilogue epilogue_of(const Array* b, Activation activation) {
  return {b ? b->data() : nullptr, b ? b->stride(0) : 1, activation};
}

std::optional<Array> read_bias(const ConvCall& c, const py::object& b, const Array& x) {
  if (b.is_none()) return std::nullopt;
  Array bias(b, c.function.c_str(), "b");
  require_same_dtype(c.function.c_str(), x, bias);
  if (bias.ndim() != 1 || bias.size(0) != c.result_channels()) {
    throw py::value_error(c.function + ": b has shape " + shape_text(bias.shape()) + ", expected " +
                          shape_text({c.result_channels()}) + ", one value for each output channel");
  }
  return bias;
}

py::object forward(ConvCall c, const py::object& x_object, const py::object& w_object,
                   const py::object& b_object, const py::object& out) {
  const char* function = c.function.c_str();
  CallLog log(function);
  const Array x(x_object, function, "x");
  const Array w = Array(w_object, function, "w").contiguous();
  require_same_dtype(function, x, w);
  const ImageView from = c.complete(x, w.shape());
  const std::optional<Array> b = read_bias(c, b_object, x);
  const cpu::Plan plan = c.plan(c.forward_direction(), x.dtype());
  if (log.wanted()) log.say({&x, &w}, route_text(c.precision, cpu::name_of(plan.algorithm)));
  Result y(out, c.result_shape(), x.numpy_dtype(), x.dtype(), function, {&x, &w, b ? &*b : nullptr});
  const ImageView to = result_view(c, y.data(), x.dtype());
  without_gil(function, [&] {
    apply(c, plan, from, filter_view(c.problem, w.data(), w.dtype()),
          epilogue_of(b ? &*b : nullptr, c.activation), to);
  });
  return y.finish();
}

// An array of the result's shape: dy, or y.
Array read_result_like(const ConvCall& c, const py::object& object, const char* name, const Array& x) {
  Array a(object, c.function.c_str(), name);
  require_same_dtype(c.function.c_str(), x, a);
  if (a.shape() != c.result_shape()) {
    throw py::value_error(c.function + ": " + name + " has shape " + shape_text(a.shape()) +
                          ", expected the result's, " + shape_text(c.result_shape()));
  }
  return a;
}

// A contiguous array's values in the compute type: themselves, or widened into `copy`.
const void* in_compute_type(const Array& a, Buffer* copy) {
  if (compute_dtype(a.dtype()) == a.dtype()) return a.data();
  *copy = Buffer(a.elements() * size_of(compute_dtype(a.dtype())));
  cpu::widen(a.dtype(), a.data(), copy->data(), a.elements());
  return copy->data();
}

// dy times the activation's slope, laid out as the result, in the compute type: it is rounded once, with the
// gradients. For gelu and silu what came before them is computed again.
Buffer through_activation(const ConvCall& c, const std::optional<cpu::Plan>& plan, const ImageView& from,
                          const FilterView& w, const Array* b, const Array& dy, const Array* y) {
  const Dtype compute = compute_dtype(dy.dtype());
  Buffer dz(dy.elements() * size_of(compute)), wide_dy, wide_y;
  const void* upstream = in_compute_type(dy, &wide_dy);
  if (y) {
    cpu::activation_grad(c.activation, compute, upstream, in_compute_type(*y, &wide_y), dz.data(),
                         dy.elements());
    return dz;
  }
  const Buffer before(dy.elements() * size_of(compute));
  apply(c, *plan, from, w, epilogue_of(b, Activation::none), result_view(c, before.data(), compute));
  cpu::activation_grad(c.activation, compute, upstream, before.data(), dz.data(), dy.elements());
  return dz;
}

py::tuple gradient(ConvCall c, const py::object& dy_object, const py::object& x_object,
                   const py::object& w_object, const py::object& b_object, const py::object& y_object,
                   const py::object& needs_object) {
  const char* function = c.function.c_str();
  CallLog log(function);
  const std::array<bool, 3> needs = read_needs(function, needs_object);
  const Array x(x_object, function, "x");
  const Array w = Array(w_object, function, "w").contiguous();
  require_same_dtype(function, x, w);
  const ImageView from = c.complete(x, w.shape());
  Array dy = read_result_like(c, dy_object, "dy", x);
  const std::optional<Array> b = read_bias(c, b_object, x);
  const bool active = c.activation != Activation::none;
  std::optional<Array> y;
  if (c.slope_needs_result()) {
    if (y_object.is_none()) {
      throw py::value_error(c.function + ": activation='" + name_of(c.activation) +
                            "' needs y, the forward's result");
    }
    y = read_result_like(c, y_object, "y", x).contiguous();
  }
  if (active) dy = dy.contiguous();
  const Dtype dtype = x.dtype();
  std::optional<cpu::Plan> plan_x, plan_w, plan_y;
  if (needs[0]) plan_x = c.plan(c.adjoint_direction(), dtype);
  if (needs[1]) plan_w = c.plan(Direction::weight_gradient, dtype);
  if (active && !y) plan_y = c.plan(c.forward_direction(), dtype);
  if (log.wanted()) log.say({&x, &w}, route_text(c.precision, routes_text(plan_x, plan_w)));

  std::optional<py::array> dx, dw, db;
  if (needs[0]) dx = new_array(function, x.shape(), x.numpy_dtype());
  if (needs[1]) dw = new_array(function, w.shape(), x.numpy_dtype());
  if (needs[2]) db = new_array(function, {c.result_channels()}, x.numpy_dtype());
  const FilterView filters = filter_view(c.problem, w.data(), dtype);
  bool unused;
  ImageView dz = image_view(dy, function, c.problem.rank, c.channels_last, &unused);
  without_gil(function, [&] {
    Buffer scaled;
    if (active) {
      scaled = through_activation(c, plan_y, from, filters, b ? &*b : nullptr, dy, y ? &*y : nullptr);
      dz = result_view(c, scaled.data(), compute_dtype(dtype));
    }
    if (dx) {
      const ImageView to =
          contiguous_image(dx->mutable_data(), dtype, from.batch, from.channels, from.size, c.channels_last);
      apply_adjoint(c, *plan_x, dz, filters, to);
    }
    if (dw) weight_gradient(c, *plan_w, dz, from, filter_view(c.problem, dw->mutable_data(), dtype));
    if (db) cpu::channel_sums(dz, dtype, db->mutable_data());
  });
  const auto or_none = [](std::optional<py::array>& a) -> py::object {
    return a ? py::object(std::move(*a)) : py::none();
  };
  return py::make_tuple(or_none(dx), or_none(dw), or_none(db));
}

// y[r] = activation(x[r] . w^T + b): a convolution with kernel 1 over the rows of x as images of one pixel,
// channels_last.
struct LinearCall {
  Array x, w;
  std::int64_t rows;
  ConvProblem problem;
  Shape result_shape;

  LinearCall(const char* function, const py::object& x_object, const py::object& w_object)
      : x(Array(x_object, function, "x").contiguous()), w(Array(w_object, function, "w").contiguous()) {
    require_same_dtype(function, x, w);
    if (w.ndim() != 2 || w.size(0) < 1 || w.size(1) < 1) {
      throw py::value_error(std::string(function) + ": w has shape " + shape_text(w.shape()) +
                            ", expected (out, in)");
    }
    if (x.ndim() < 1 || x.size(x.ndim() - 1) != w.size(1)) {
      throw py::value_error(std::string(function) + ": x has shape " + shape_text(x.shape()) +
                            ", but w of shape " + shape_text(w.shape()) + " reads (..., " +
                            std::to_string(w.size(1)) + ")");
    }
    rows = x.elements() / w.size(1);
    result_shape = x.shape();
    result_shape.back() = w.size(0);
    problem.batch = rows;
    problem.in_channels = w.size(1);
    problem.out_channels = w.size(0);
  }
  ImageView image(void* data, std::int64_t features) const {
    return contiguous_image(data, x.dtype(), rows, features, problem.input, true);
  }
  FilterView filters(void* data) const { return {data, x.dtype(), w.size(0), w.size(1), 1}; }
  cpu::Plan plan(const char* function, const py::object& precision_object, CallLog* log) const {
    const Precision precision = read_precision(function, precision_object);
    const cpu::Plan chosen = cpu::select_algorithm(function, problem, Direction::forward, x.dtype(),
                                                   precision, "implicit_gemm", cpu::Machine::current());
    if (log->wanted()) log->say({&x, &w}, route_text(precision, cpu::name_of(chosen.algorithm)));
    return chosen;
  }
};

py::object linear(const py::object& x_object, const py::object& w_object, const py::object& b_object,
                  const py::object& activation_object, const py::object& precision, const py::object& out) {
  const char* function = "linear";
  CallLog log(function);
  const Activation activation = read_activation(function, activation_object);
  const LinearCall c(function, x_object, w_object);
  std::optional<Array> b;
  if (!b_object.is_none()) {
    b.emplace(b_object, function, "b");
    require_same_dtype(function, c.x, *b);
    if (b->ndim() != 1 || b->size(0) != c.w.size(0)) {
      throw py::value_error("linear: b has shape " + shape_text(b->shape()) + ", expected " +
                            shape_text({c.w.size(0)}));
    }
  }
  const cpu::Plan plan = c.plan(function, precision, &log);
  Result y(out, c.result_shape, c.x.numpy_dtype(), c.x.dtype(), function, {&c.x, &c.w, b ? &*b : nullptr});
  const ImageView to = c.image(y.data(), c.w.size(0));
  without_gil(function, [&] {
    cpu::conv_forward(plan, c.problem, c.image(c.x.data(), c.w.size(1)), c.filters(c.w.data()),
                      epilogue_of(b ? &*b : nullptr, activation), to);
  });
  return y.finish();
}

py::tuple linear_gradient(const py::object& dy_object, const py::object& x_object, const py::object& w_object,
                          const py::object& needs_object, const py::object& precision) {
  const char* function = "grad.linear";
  CallLog log(function);
  const std::array<bool, 3> needs = read_needs(function, needs_object);
  const LinearCall c(function, x_object, w_object);
  const Array dy = Array(dy_object, function, "dy").contiguous();
  require_same_dtype(function, c.x, dy);
  if (dy.shape() != c.result_shape) {
    throw py::value_error("grad.linear: dy has shape " + shape_text(dy.shape()) + ", expected " +
                          shape_text(c.result_shape));
  }
  const cpu::Plan plan = c.plan(function, precision, &log);
  std::optional<py::array> dx, dw, db;
  if (needs[0]) dx = new_array(function, c.x.shape(), c.x.numpy_dtype());
  if (needs[1]) dw = new_array(function, c.w.shape(), c.x.numpy_dtype());
  if (needs[2]) db = new_array(function, {c.w.size(0)}, c.x.numpy_dtype());
  without_gil(function, [&] {
    const ImageView dz = c.image(dy.data(), c.w.size(0));
    if (dx)
      cpu::conv_input_gradient(plan, c.problem, dz, c.filters(c.w.data()), {},
                               c.image(dx->mutable_data(), c.w.size(1)));
    if (dw)
      cpu::conv_weight_gradient(plan, c.problem, dz, c.image(c.x.data(), c.w.size(1)),
                                c.filters(dw->mutable_data()));
    if (db) cpu::channel_sums(dz, dy.dtype(), db->mutable_data());
  });
  const auto or_none = [](std::optional<py::array>& a) -> py::object {
    return a ? py::object(std::move(*a)) : py::none();
  };
  return py::make_tuple(or_none(dx), or_none(dw), or_none(db));
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
