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

struct Operation {
  bool gradient, transposed;
  int rank;
};

Operation read_operation(const std::string& text) {
  Operation o{};
  std::string rest = text;
  const auto strip = [&](const char* prefix) {
    const std::string p = prefix;
    if (rest.rfind(p, 0) != 0) return false;
    rest = rest.substr(p.size());
    return true;
  };
  o.gradient = strip("grad.");
  const bool conv = strip("conv");
  o.transposed = conv && strip("_transpose");
  if (conv && rest.size() == 2 && rest[1] == 'd' && rest[0] >= '1' && rest[0] <= '3') {
    o.rank = rest[0] - '0';
    return o;
  }
  throw py::value_error(
      "explain: operation is '" + text +
      "', expected conv1d to conv3d or conv_transpose1d to conv_transpose3d, or one of them after 'grad.'");
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

py::dict explain(const std::string& operation, O x_shape, O w_shape, O dtype_object, O stride, O padding,
                 O dilation, O groups, O padding_mode, O data_format, O precision, O algorithm,
                 O output_padding) {
  const Operation o = read_operation(operation);
  ConvCall c(o.transposed ? "conv_transpose" : "conv", o.rank, o.transposed, stride, padding, output_padding,
             dilation, groups, padding_mode, data_format, py::none(), precision, algorithm);
  const Dtype dtype = read_dtype_name("explain", dtype_object);
  const Shape shape = read_shape("explain", "x_shape", x_shape),
              filter_shape = read_shape("explain", "w_shape", w_shape);
  c.complete(shape, filter_shape);
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
  if (!o.gradient) {
    plan_x = c.plan(c.forward_direction(), dtype);
    o.transposed ? backward("") : forward("");
  } else {
    plan_x = c.plan(c.adjoint_direction(), dtype);
    plan_w = c.plan(cpu::Direction::weight_gradient, dtype);
    o.transposed ? forward("dx.") : backward("dx.");
    Part{p, *plan_w, "dw.", &r}.weight_gradient(output, input);
  }
  std::vector<std::string> reasons = plan_x->reasons;
  if (plan_w) {
    for (std::string& reason : reasons) reason = "dx: " + reason;
    for (const std::string& reason : plan_w->reasons) reasons.push_back("dw: " + reason);
  }
  const std::int64_t element_bytes = size_of(dtype);
  const std::int64_t once =
      element_bytes * (p.batch * (p.in_channels * product(p.input) + p.out_channels * product(p.output)) +
                       p.out_channels * p.channels_per_group() * p.taps());
  r.bytes = o.gradient ? 2 * once : once;

  const cpu::GemmKernels& k = plan_x->machine.table->gemm[compute_dtype(dtype) == Dtype::float64];
  const auto& size = o.transposed ? p.input : p.output;
  py::dict d;
  d["operation"] = operation;
  d["algorithm"] = routes_text(plan_x, plan_w);
  d["isa"] = plan_x->machine.table->isa;
  d["dtype"] = name_of(dtype);
  d["precision"] = precision.is_none() ? py::object(py::str(default_precision())) : precision;
  d["threads"] = plan_x->machine.threads;
  d["tile"] = py::make_tuple(k.mr, k.nr);
  d["blocking"] = r.blocking;
  d["workspace_bytes"] = r.workspace;
  d["flops"] = r.flops;
  d["bytes"] = r.bytes;
  d["output_shape"] = py::tuple(py::cast(image_shape(p.batch, o.transposed ? p.in_channels : p.out_channels,
                                                     size, p.rank, c.channels_last, c.batched)));
  d["reasons"] = py::cast(reasons);
  return d;
}

}  // namespace

void bind_explain(py::module_& m) { m.def("explain", &explain); }

}  // namespace fastconv::python
