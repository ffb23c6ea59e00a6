// explain(): the plan of a call, from its shapes alone.
#include <algorithm>

#include "cpu/convolution.h"
#include "python/conv_arguments.h"
#include "python/result.h"

namespace fastconv::python {
namespace {

Dtype read_dtype_name(const std::string& function, const py::object& value) {
  std::string name;
  if (py::isinstance<py::str>(value)) {
    name = py::cast<std::string>(value);
  } else {
    name = py::cast<std::string>(py::str(py::module_::import("numpy").attr("dtype")(value).attr("name")));
  }
  for (int i = 0; i < kDtypeCount; ++i)
    if (name == name_of(static_cast<Dtype>(i))) return static_cast<Dtype>(i);
  throw py::type_error(function + ": dtype is " + std::string(py::repr(value)) +
                       ", expected float32, float64, float16 or bfloat16");
}

using O = const py::object&;

// The arrays that a call was handed over with; they decide nothing, but must be such that the call takes
// them.
void check_arrays(const ConvCall& c, Dtype dtype, O b, O y, O out) {
  const char* function = c.function.c_str();
  const auto check = [&](const char* name, O object, const Shape& expected) {
    if (object.is_none()) return;
    const Array a(object, function, name);
    if (a.dtype() != dtype) {
      throw py::type_error(c.function + ": " + name + " has dtype " + name_of(a.dtype()) + ", but dtype is " +
                           name_of(dtype));
    }
    if (a.shape() != expected) {
      throw py::value_error(c.function + ": " + name + " has shape " + shape_text(a.shape()) + ", expected " +
                            shape_text(expected));
    }
  };
  check("b", b, {c.result_channels()});
  if (c.slope_needs_result()) check("y", y, c.result_shape());
  if (!out.is_none()) read_out(out, Place::host(), c.result_shape(), dtype, function);
}

py::dict explain(const std::string& operation, int rank, bool transposed, bool gradient, O x_shape, O w_shape,
                 O dtype_object, O stride, O padding, O dilation, O groups, O padding_mode, O data_format,
                 O activation, O precision, O algorithm, O output_padding, O needs_object, O b, O y, O out) {
  const std::string base = std::string(gradient ? "grad." : "") + (transposed ? "conv_transpose" : "conv");
  ConvCall c(base.c_str(), rank, transposed, stride, padding, output_padding, dilation, groups, padding_mode,
             data_format, activation, precision, algorithm);
  const std::array<bool, 3> needs = read_needs(c.function, needs_object);
  const Dtype dtype = read_dtype_name("explain", dtype_object);
  const Shape shape = read_shape("explain", "x_shape", x_shape),
              filter_shape = read_shape("explain", "w_shape", w_shape);
  c.complete(shape, filter_shape);
  check_arrays(c, dtype, b, y, out);
  const ConvProblem& p = c.problem;
  const ImageView input = contiguous_image(nullptr, dtype, p.batch, p.in_channels, p.input, c.channels_last);
  const ImageView output =
      contiguous_image(nullptr, dtype, p.batch, p.out_channels, p.output, c.channels_last);
  const FilterView w{nullptr, dtype, p.out_channels, p.channels_per_group(), p.taps()};

  py::dict blocking;
  std::int64_t workspace = 0, flops = 0;
  std::optional<cpu::Plan> plan_x, plan_w;  // of the images' product, and of the gradient's other one
  const auto add = [&](Direction direction, const std::string& prefix) {
    const cpu::Plan plan = cpu::select_algorithm(c.function, p, direction, dtype, c.precision, c.algorithm,
                                                 cpu::Machine::current());
    const auto products = cpu::prepare(plan, p, direction, input, output, w);
    for (const auto& call : products) workspace = std::max(workspace, call->workspace_bytes());
    if (!products.empty())
      for (const cpu::Figure& f : products.back()->figures()) blocking[py::str(prefix + f.name)] = f.value;
    flops += p.flops();
    return plan;
  };
  if (!gradient) plan_x = add(c.forward_direction(), "");
  if (gradient && needs[0]) plan_x = add(c.adjoint_direction(), "dx.");
  if (gradient && needs[1]) plan_w = add(Direction::weight_gradient, "dw.");
  std::vector<std::string> reasons;
  const auto collect = [&](const std::optional<cpu::Plan>& plan, const char* product_name) {
    if (!plan) return;
    for (const std::string& reason : plan->reasons()) reasons.push_back(product_name + reason);
  };
  collect(plan_x, gradient ? "dx: " : "");
  collect(plan_w, "dw: ");
  const std::int64_t element_bytes = size_of(dtype), w_elements = w.filters * w.channels * w.taps,
                     x_elements = p.batch * p.in_channels * product(p.input),
                     y_elements = p.batch * p.out_channels * product(p.output);
  std::int64_t bytes = element_bytes * (x_elements + y_elements + w_elements);
  if (gradient && needs[0]) bytes += element_bytes * (transposed ? y_elements : x_elements);
  if (gradient && needs[1]) bytes += element_bytes * w_elements;

  const cpu::Machine machine = cpu::Machine::current();
  const cpu::GemmKernels& k = machine.table->gemm[compute_dtype(dtype) == Dtype::float64];
  py::dict d;
  d["operation"] = operation;
  const auto name = [](const std::optional<cpu::Plan>& plan) {
    return plan ? cpu::name_of(plan->algorithm) : nullptr;
  };
  d["algorithm"] = routes_text(name(plan_x), name(plan_w));
  d["isa"] = machine.table->isa;
  d["dtype"] = name_of(dtype);
  d["precision"] = precision.is_none() ? py::object(py::str(default_precision())) : precision;
  d["threads"] = machine.threads;
  d["tile"] = py::make_tuple(k.mr, k.nr);
  d["blocking"] = blocking;
  d["workspace_bytes"] = workspace;
  d["flops"] = flops;
  d["bytes"] = bytes;
  d["output_shape"] = py::tuple(py::cast(c.result_shape()));
  d["reasons"] = py::cast(reasons);
  return d;
}

}  // namespace

void bind_explain(py::module_& m) {
  using py::arg;
  m.def("explain", &explain, arg("operation"), arg("rank"), arg("transposed"), arg("gradient"),
        arg("x_shape"), arg("w_shape"), arg("dtype"), py::kw_only(), arg("stride"), arg("padding"),
        arg("dilation"), arg("groups"), arg("padding_mode"), arg("data_format"), arg("activation"),
        arg("precision"), arg("algorithm"), arg("output_padding"), arg("needs"), arg("b"), arg("y"),
        arg("out"));
}

}  // namespace fastconv::python
