// explain(): the plan of a call, from its shapes alone.
#include <algorithm>

#include "core/conv_as_gemm.h"
#include "cpu/depthwise.h"
#include "cpu/implicit_gemm.h"
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

void report_direct(const ConvProblem& p, const cpu::Machine& machine, const std::vector<PixelGather>& gathers,
                   const char* prefix, Report* r) {
  if (gathers.empty()) return;
  const cpu::DepthwiseShape s = cpu::depthwise_shape(machine, gathers[0], p.out_channels / p.in_channels);
  r->set(prefix, "positions", s.positions);
  r->set(prefix, "channels", s.channels);
  r->workspace = std::max(r->workspace, s.workspace_bytes);
  r->flops += p.flops();
}

void report_product(const ConvProblem& p, const cpu::Machine& machine,
                    const std::vector<PixelGather>& gathers, const FilterView& w, bool by_channel,
                    const char* prefix, Report* r) {
  if (gathers.empty()) return;
  const auto shape = cpu::shape_of(machine, gathers[0], w, by_channel, p.groups,
                                   p.groups * static_cast<std::int64_t>(gathers.size()));
  r->add(prefix, shape.blocking);
  r->workspace = std::max(r->workspace, cpu::workspace_bytes(machine, gathers, w, by_channel, p.groups));
  r->flops += p.flops();
}

void report_weight_gradient(const ConvProblem& p, const cpu::Machine& machine, const ImageView& dy,
                            const ImageView& x, Report* r) {
  const PixelGather own = own_pixels(dy), gather = forward_gather(p, x, dy);
  const auto shape = cpu::shape_of(machine, own, gather, p.groups);
  r->add("dw.", shape.blocking.gemm);
  r->blocking["dw.slices"] = shape.blocking.slices;
  r->workspace = std::max(r->workspace, cpu::workspace_bytes(machine, own, gather, p.groups));
  r->flops += p.flops();
}

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
  const cpu::Plan plan =
      c.plan(o.transposed != o.gradient ? cpu::Direction::input_gradient : cpu::Direction::forward, dtype);
  const ImageView input = contiguous_image(nullptr, dtype, p.batch, p.in_channels, p.input, c.channels_last);
  const ImageView output =
      contiguous_image(nullptr, dtype, p.batch, p.out_channels, p.output, c.channels_last);
  const FilterView w{nullptr, dtype, p.out_channels, p.channels_per_group(), p.taps()};

  Report r;
  const bool direct = plan.algorithm == cpu::Algorithm::direct;
  const auto report = [&](const std::vector<PixelGather>& gathers, bool by_channel, const char* prefix) {
    direct ? report_direct(p, plan.machine, gathers, prefix, &r)
           : report_product(p, plan.machine, gathers, w, by_channel, prefix, &r);
  };
  const auto forward = [&](const char* prefix) { report({forward_gather(p, input, output)}, false, prefix); };
  const auto backward = [&](const char* prefix) {
    report(input_gradient_gathers(p, output, input).phases, true, prefix);
  };
  if (!o.gradient) {
    o.transposed ? backward("") : forward("");
  } else {
    o.transposed ? forward("dx.") : backward("dx.");
    if (direct) {
      report_direct(p, plan.machine, {forward_gather(p, input, output)}, "dw.", &r);
    } else {
      report_weight_gradient(p, plan.machine, output, input, &r);
    }
  }
  const std::int64_t element_bytes = size_of(dtype);
  const std::int64_t once =
      element_bytes * (p.batch * (p.in_channels * product(p.input) + p.out_channels * product(p.output)) +
                       p.out_channels * p.channels_per_group() * p.taps());
  r.bytes = o.gradient ? 2 * once : once;

  const cpu::GemmKernels& k = plan.machine.table->gemm[compute_dtype(dtype) == Dtype::float64];
  const auto& size = o.transposed ? p.input : p.output;
  py::dict d;
  d["operation"] = operation;
  d["algorithm"] = cpu::name_of(plan.algorithm);
  d["isa"] = plan.machine.table->isa;
  d["dtype"] = name_of(dtype);
  d["precision"] = precision.is_none() ? py::object(py::str(default_precision())) : precision;
  d["threads"] = plan.machine.threads;
  d["tile"] = py::make_tuple(k.mr, k.nr);
  d["blocking"] = r.blocking;
  d["workspace_bytes"] = r.workspace;
  d["flops"] = r.flops;
  d["bytes"] = r.bytes;
  d["output_shape"] = py::tuple(py::cast(image_shape(p.batch, o.transposed ? p.in_channels : p.out_channels,
                                                     size, p.rank, c.channels_last, c.batched)));
  d["reasons"] = py::cast(plan.reasons);
  return d;
}

}  // namespace

void bind_explain(py::module_& m) { m.def("explain", &explain); }

}  // namespace fastconv::python
