// Batch normalisation and local response normalisation.
#include <cmath>
#include <optional>

#include "cpu/normalisation.h"
#include "cpu/response_norm.h"
#include "python/conv_arguments.h"
#include "python/elementwise_arguments.h"
#include "python/result.h"

namespace fastconv::python {
namespace {

using Values = std::vector<double>;  // one for each channel

// Batch, channels and space of (N, C, ...) or (N, ..., C).
struct Extents {
  std::int64_t batch, channels, space = 1;
  bool channels_last;

  Extents(const char* function, const Array& x, const py::object& data_format)
      : channels_last(read_channels_last(function, data_format)) {
    if (x.ndim() < 2) {
      throw py::value_error(std::string(function) + ": " + x.name() + " has shape " + shape_text(x.shape()) +
                            ", expected (N, C, ...) or (N, ..., C)");
    }
    const int channel_axis = channels_last ? x.ndim() - 1 : 1;
    batch = x.size(0);
    channels = x.size(channel_axis);
    for (int i = 1; i < x.ndim(); ++i)
      if (i != channel_axis) space *= x.size(i);
  }
};

Values to_values(const py::array& a) {
  const auto wide = py::cast<py::array>(a.attr("astype")("float64", py::arg("order") = "C"));
  const auto* p = static_cast<const double*>(wide.data());
  return Values(p, p + wide.size());
}

py::array from_values(const Values& values, const py::dtype& dtype) {
  return py::cast<py::array>(py::array(py::ssize_t_cast(values.size()), values.data()).attr("astype")(dtype));
}

py::dtype compute_numpy_dtype(Dtype t) {
  return t == Dtype::float64 ? py::dtype::of<double>() : py::dtype::of<float>();
}

// An array of one value for each channel; statistics may be of the compute type too.
Array read_channels(const py::object& object, const char* function, const char* name, const Array& x,
                    std::int64_t channels, bool statistic) {
  const Array a(object, function, name);
  if (!(statistic && a.dtype() == compute_dtype(x.dtype()))) require_same_dtype(function, x, a);
  if (a.ndim() != 1 || a.size(0) != channels) {
    throw py::value_error(std::string(function) + ": " + name + " has shape " + shape_text(a.shape()) +
                          ", expected " + shape_text({channels}) + ", one value for each channel");
  }
  return a;
}

Values read_values(const py::object& object, const char* function, const char* name, const Array& x,
                   std::int64_t channels, double otherwise) {
  if (object.is_none()) return Values(static_cast<std::size_t>(channels), otherwise);
  return to_values(read_channels(object, function, name, x, channels, false).numpy());
}

// A running statistic: read, and written back in place.
class Running {
 public:
  Running(const py::object& object, const char* name, const Array& x, std::int64_t channels)
      : object_(object) {
    if (object.is_none()) return;
    if (!py::isinstance<py::array>(object)) {
      throw py::type_error(std::string("batch_norm: ") + name +
                           " is changed in place and must be a NumPy array");
    }
    read_channels(object, "batch_norm", name, x, channels, true);
    values_ = to_values(py::reinterpret_borrow<py::array>(object));
  }
  bool given() const { return !object_.is_none(); }
  const Values& values() const { return values_; }
  void require_writable(const char* name) const {
    if (given() && !py::reinterpret_borrow<py::array>(object_).writeable()) {
      throw py::value_error(std::string("batch_norm: ") + name + " is changed in place, but is read-only");
    }
  }
  // running = (1 - momentum) * running + momentum * factor * statistic
  void update(const Values& statistic, double momentum, double factor) {
    if (!given()) return;
    for (std::size_t c = 0; c < values_.size(); ++c)
      values_[c] = (1 - momentum) * values_[c] + momentum * factor * statistic[c];
    object_[py::ellipsis()] = py::array(py::ssize_t_cast(values_.size()), values_.data());
  }

 private:
  py::object object_;
  Values values_;
};

py::tuple batch_norm(const py::object& x_object, const py::object& weight_object,
                     const py::object& bias_object, const py::object& running_mean_object,
                     const py::object& running_var_object, const py::object& momentum_object,
                     const py::object& eps_object, bool training, const py::object& data_format,
                     const py::object& activation_object) {
  const char* function = "batch_norm";
  const Activation activation = read_activation(function, activation_object);
  const Array x = Array(x_object, function, "x").contiguous();
  const Extents e(function, x, data_format);
  const double eps = read_number(function, "eps", eps_object),
               momentum = read_number(function, "momentum", momentum_object);
  const Values weight = read_values(weight_object, function, "weight", x, e.channels, 1);
  const Values bias = read_values(bias_object, function, "bias", x, e.channels, 0);
  Running running_mean(running_mean_object, "running_mean", x, e.channels);
  Running running_var(running_var_object, "running_var", x, e.channels);
  const std::int64_t elements = e.batch * e.space;
  if (training) {
    running_mean.require_writable("running_mean");
    running_var.require_writable("running_var");
    if (elements == 1) {
      throw py::value_error("batch_norm: x has shape " + shape_text(x.shape()) +
                            ", expected more than one element for each channel in training");
    }
  } else if (!running_mean.given() || !running_var.given()) {
    throw py::value_error("batch_norm: training=False needs running_mean and running_var, got None");
  }

  py::array y = new_array(function, x.shape(), x.numpy_dtype());
  void* data = y.mutable_data();
  Values mean(running_mean.values()), variance(running_var.values()), inv_std(weight.size());
  without_gil(function, [&] {
    const cpu::ChannelLayout layout = cpu::contiguous_layout(e.batch, e.channels, e.space, e.channels_last);
    if (training) {
      mean.resize(weight.size());
      variance.resize(weight.size());
      cpu::channel_moments(layout, x.dtype(), x.data(), mean.data(), variance.data());
    }
    Values scale(weight.size());
    for (std::size_t c = 0; c < scale.size(); ++c) {
      inv_std[c] = 1 / std::sqrt(variance[c] + eps);
      scale[c] = weight[c] * inv_std[c];
    }
    cpu::normalise(layout, x.dtype(), x.data(), mean.data(), scale.data(), bias.data(), activation, data);
  });
  if (training && elements > 0) {
    const double n = static_cast<double>(elements);
    running_mean.update(mean, momentum, 1);
    running_var.update(variance, momentum, n / (n - 1));
  }
  const py::dtype statistics = compute_numpy_dtype(x.dtype());
  return py::make_tuple(y, from_values(mean, statistics), from_values(inv_std, statistics));
}

py::tuple batch_norm_grad(const py::object& dy_object, const py::object& x_object,
                          const py::object& weight_object, const py::object& mean_object,
                          const py::object& inv_std_object, bool training, const py::object& data_format) {
  const char* function = "batch_norm_grad";
  const Array x = Array(x_object, function, "x").contiguous();
  const Array dy = read_like(dy_object, function, "dy", x);
  const Extents e(function, x, data_format);
  const Values weight = read_values(weight_object, function, "weight", x, e.channels, 1);
  const Values mean = to_values(read_channels(mean_object, function, "mean", x, e.channels, true).numpy());
  const Values inv_std =
      to_values(read_channels(inv_std_object, function, "inv_std", x, e.channels, true).numpy());
  py::array dx = new_array(function, x.shape(), x.numpy_dtype());
  void* data = dx.mutable_data();
  Values dweight(weight.size()), dbias(weight.size());
  without_gil(function, [&] {
    cpu::batch_norm_grad(cpu::contiguous_layout(e.batch, e.channels, e.space, e.channels_last), x.dtype(),
                         {dy.data(), x.data(), weight.data(), mean.data(), inv_std.data(), training, data,
                          dweight.data(), dbias.data()});
  });
  return py::make_tuple(dx, from_values(dweight, x.numpy_dtype()), from_values(dbias, x.numpy_dtype()));
}

cpu::ResponseNorm read_response_norm(const char* function, const Array& x, const py::object& size,
                                     const py::object& alpha, const py::object& beta, double k,
                                     const py::object& data_format) {
  const Extents e(function, x, data_format);
  const cpu::ResponseNorm n{x.dtype(),
                            e.batch,
                            e.channels,
                            e.space,
                            e.channels_last,
                            read_int(function, "size", size),
                            read_number(function, "alpha", alpha),
                            read_number(function, "beta", beta),
                            k};
  if (n.size < 1) {
    throw py::value_error(std::string(function) + ": size is " + std::to_string(n.size) +
                          ", expected at least 1");
  }
  return n;
}

py::tuple local_response_norm(const py::object& x_object, const py::object& size, const py::object& alpha,
                              const py::object& beta, const py::object& k, const py::object& data_format) {
  const char* function = "local_response_norm";
  const Array x = Array(x_object, function, "x").contiguous();
  const cpu::ResponseNorm n =
      read_response_norm(function, x, size, alpha, beta, read_number(function, "k", k), data_format);
  py::array y = new_array(function, x.shape(), x.numpy_dtype()),
            scale = new_array(function, x.shape(), x.numpy_dtype());
  void *y_data = y.mutable_data(), *scale_data = scale.mutable_data();
  without_gil(function, [&] { cpu::response_norm(n, x.data(), y_data, scale_data); });
  return py::make_tuple(y, scale);
}

py::array local_response_norm_grad(const py::object& dy_object, const py::object& x_object,
                                   const py::object& y_object, const py::object& scale_object,
                                   const py::object& size, const py::object& alpha, const py::object& beta,
                                   const py::object& data_format) {
  const char* function = "local_response_norm_grad";
  const Array x = Array(x_object, function, "x").contiguous();
  const Array dy = read_like(dy_object, function, "dy", x), y = read_like(y_object, function, "y", x);
  const Array scale = read_like(scale_object, function, "scale", x);
  const cpu::ResponseNorm n = read_response_norm(function, x, size, alpha, beta, 0, data_format);
  py::array dx = new_array(function, x.shape(), x.numpy_dtype());
  void* data = dx.mutable_data();
  without_gil(function,
              [&] { cpu::response_norm_grad(n, dy.data(), x.data(), y.data(), scale.data(), data); });
  return dx;
}

}  // namespace

void bind_normalisation(py::module_& m) {
  m.def("batch_norm", &batch_norm, py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("running_mean"),
        py::arg("running_var"), py::arg("momentum"), py::arg("eps"), py::arg("training"),
        py::arg("data_format"), py::arg("activation") = py::none());
  m.def("batch_norm_grad", &batch_norm_grad);
  m.def("local_response_norm", &local_response_norm);
  m.def("local_response_norm_grad", &local_response_norm_grad);
}

}  // namespace fastconv::python
