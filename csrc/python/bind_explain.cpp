// explain(): the plan of a call, from its shapes alone.
#include <algorithm>

#include "core/conv_as_gemm.h"
#include "cpu/depthwise.h"
#include "cpu/implicit_gemm.h"
#include "cpu/winograd.h"
#include "python/conv_arguments.h"

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

struct Report {
  py::dict blocking;
  std::int64_t workspace = 0, flops = 0, bytes = 0;

  void set(const char* prefix, const char* name, std::int64_t v) {
    blocking[py::str(std::string(prefix) + name)] = v;
  }
  void add(const char* prefix, const cpu::GemmBlocking& b) {
    set(prefix, "depth", b.depth);
    set(prefix, "rows", b.rows);
    set(prefix, "cols", b.cols);
    set(prefix, "inner_rows", b.inner_rows);
    set(prefix, "tile_rows", b.tile_rows);
  }
};

// What one part of a call does: its plan, and where its figures go.
struct Part {
  const ConvProblem& p;
  const cpu::Plan& plan;
  const char* prefix;
  Report* report;

  void set(const char* name, std::int64_t v) const { report->set(prefix, name, v); }
  void count(std::int64_t workspace_bytes) const {
    report->workspace = std::max(report->workspace, workspace_bytes);
    report->flops += p.flops();
  }
  void count(const cpu::DepthwiseShape& s) const {
    set("positions", s.positions);
    set("channels", s.channels);
    count(s.workspace_bytes);
  }

  // The forward product or (by_channel) the input gradient.
  void products(const std::vector<PixelGather>& gathers, const ImageView& result, const FilterView& w,
                bool by_channel) const {
    if (gathers.empty()) return;
    const cpu::Machine& machine = plan.machine;
    if (plan.algorithm == cpu::Algorithm::direct) {
      count(cpu::depthwise_shape(machine, gathers, result, p.out_channels / p.in_channels));
    } else if (plan.algorithm == cpu::Algorithm::winograd) {
      const auto s = cpu::winograd_shape(machine, plan.winograd_tile, gathers[0], w, by_channel, p.groups);
      set("tile_outputs", s.m);
      report->add(prefix, s.blocking.gemm);
      count(s.workspace_bytes);
    } else {
      const auto s = cpu::shape_of(machine, gathers[0], w, by_channel, p.groups,
                                   p.groups * static_cast<std::int64_t>(gathers.size()));
      report->add(prefix, s.blocking);
      count(cpu::workspace_bytes(machine, gathers, w, by_channel, p.groups));
    }
  }

  void weight_gradient(const ImageView& dy, const ImageView& x) const {
    const cpu::Machine& machine = plan.machine;
    const PixelGather gather = forward_gather(p, x, dy);
    if (plan.algorithm == cpu::Algorithm::direct) {
      count(cpu::depthwise_shape(machine, {gather}, dy, p.out_channels / p.in_channels));
    } else if (plan.algorithm == cpu::Algorithm::winograd) {
      const auto s = cpu::winograd_gradient_shape(machine, plan.winograd_tile, gather, p.groups);
      set("tile_outputs", s.m);
      report->add(prefix, s.blocking.gemm);
      set("slices", s.slices);
      count(s.workspace_bytes);
    } else {
      const PixelGather own = own_pixels(dy);
      const auto s = cpu::shape_of(machine, own, gather, p.groups);
      report->add(prefix, s.blocking.gemm);
      set("slices", s.blocking.slices);
      count(cpu::workspace_bytes(machine, own, gather, p.groups));
    }
  }
};

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
  if (!out.is_none()) read_out(out, c.result_shape(), dtype, function);
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

  Report r;
  std::optional<cpu::Plan> plan_x, plan_w;  // of the images' product, and of the gradient's other one
  const auto forward = [&](const char* prefix) {
    Part{p, *plan_x, prefix, &r}.products({forward_gather(p, input, output)}, output, w, false);
  };
  const auto backward = [&](const char* prefix) {
    Part{p, *plan_x, prefix, &r}.products(input_gradient_gathers(p, output, input).phases, input, w, true);
  };
  if (!gradient) {
    plan_x = c.plan(c.forward_direction(), dtype);
    transposed ? backward("") : forward("");
  }
  if (gradient && needs[0]) {
    plan_x = c.plan(c.adjoint_direction(), dtype);
    transposed ? forward("dx.") : backward("dx.");
  }
  if (gradient && needs[1]) {
    plan_w = c.plan(cpu::Direction::weight_gradient, dtype);
    Part{p, *plan_w, "dw.", &r}.weight_gradient(output, input);
  }
  std::vector<std::string> reasons;
  const auto collect = [&](const std::optional<cpu::Plan>& plan, const char* product_name) {
    if (!plan) return;
    for (const std::string& reason : plan->reasons) reasons.push_back(product_name + reason);
  };
  collect(plan_x, gradient ? "dx: " : "");
  collect(plan_w, "dw: ");
  const std::int64_t element_bytes = size_of(dtype), w_elements = w.filters * w.channels * w.taps,
                     x_elements = p.batch * p.in_channels * product(p.input),
                     y_elements = p.batch * p.out_channels * product(p.output);
  r.bytes = element_bytes * (x_elements + y_elements + w_elements);
  if (gradient && needs[0]) r.bytes += element_bytes * (transposed ? y_elements : x_elements);
  if (gradient && needs[1]) r.bytes += element_bytes * w_elements;

  const cpu::Machine machine = cpu::Machine::current();
  const cpu::GemmKernels& k = machine.table->gemm[compute_dtype(dtype) == Dtype::float64];
  py::dict d;
  d["operation"] = operation;
  d["algorithm"] = routes_text(plan_x, plan_w);
  d["isa"] = machine.table->isa;
  d["dtype"] = name_of(dtype);
  d["precision"] = precision.is_none() ? py::object(py::str(default_precision())) : precision;
  d["threads"] = machine.threads;
  d["tile"] = py::make_tuple(k.mr, k.nr);
  d["blocking"] = r.blocking;
  d["workspace_bytes"] = r.workspace;
  d["flops"] = r.flops;
  d["bytes"] = r.bytes;
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
