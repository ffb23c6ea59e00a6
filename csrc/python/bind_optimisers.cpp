// Optimiser steps, in place.
#include <cmath>

#include "cpu/optimisers.h"
#include "python/elementwise_arguments.h"

namespace fastconv::python {
namespace {

// The arrays of one step: the parameter and its state, changed in place, and the gradient, of any strides.
class StepArrays {
 public:
  StepArrays(const char* function, const py::object& param, const py::object& grad)
      : function_(function), param_(read_in_place(param, function, "param")), grad_(param_) {
    if (param_.dtype() != Dtype::float32 && param_.dtype() != Dtype::float64) {
      throw py::type_error(std::string(function) + ": param has dtype " + name_of(param_.dtype()) +
                           ", expected float32 or float64");
    }
    grad_ = read_like(grad, function, "grad", param_);
  }
  // None gives null.
  void* state(const py::object& object, const char* name) const {
    if (object.is_none()) return nullptr;
    const Array a = read_in_place(object, function_, name);
    return read_like(a.numpy(), function_, name, param_).data();
  }
  double number(const char* name, const py::object& value) const {
    return read_number(function_, name, value);
  }
  // Momentum, for which there must be a velocity.
  double momentum(const py::object& value, const void* velocity) const {
    const double m = number("momentum", value);
    if (m != 0 && !velocity)
      throw py::value_error(std::string(function_) + ": momentum needs a velocity, got None");
    return m;
  }
  Dtype dtype() const { return param_.dtype(); }
  void* param() const { return param_.data(); }
  const void* grad() const { return grad_.data(); }
  std::int64_t elements() const { return param_.elements(); }

 private:
  const char* function_;
  Array param_, grad_;
};

void sgd_step(const py::object& param, const py::object& grad, const py::object& velocity_object,
              const py::object& lr, const py::object& momentum, const py::object& weight_decay,
              bool nesterov) {
  const StepArrays a("sgd_step", param, grad);
  void* velocity = a.state(velocity_object, "velocity");
  const cpu::SgdStep step{a.param(),
                          a.grad(),
                          velocity,
                          a.number("lr", lr),
                          a.momentum(momentum, velocity),
                          a.number("weight_decay", weight_decay),
                          nesterov};
  const py::gil_scoped_release release;
  cpu::sgd_step(a.dtype(), step, a.elements());
}

void rmsprop_step(const py::object& param, const py::object& grad, const py::object& square_avg,
                  const py::object& velocity_object, const py::object& lr, const py::object& alpha,
                  const py::object& eps, const py::object& weight_decay, const py::object& momentum) {
  const StepArrays a("rmsprop_step", param, grad);
  void* squares = a.state(square_avg, "square_avg");
  if (!squares) throw py::type_error("rmsprop_step: square_avg must be a NumPy array, got None");
  void* velocity = a.state(velocity_object, "velocity");
  const cpu::RmspropStep step{a.param(),
                              a.grad(),
                              squares,
                              velocity,
                              a.number("lr", lr),
                              a.number("alpha", alpha),
                              a.number("eps", eps),
                              a.number("weight_decay", weight_decay),
                              a.momentum(momentum, velocity)};
  const py::gil_scoped_release release;
  cpu::rmsprop_step(a.dtype(), step, a.elements());
}

void adam_step(const py::object& param, const py::object& grad, const py::object& m_object,
               const py::object& v_object, const py::object& lr, const py::object& beta1,
               const py::object& beta2, const py::object& eps, const py::object& weight_decay, bool decoupled,
               const py::object& step_object) {
  const StepArrays a("adam_step", param, grad);
  void* m = a.state(m_object, "m");
  void* v = a.state(v_object, "v");
  if (!m || !v) throw py::type_error("adam_step: m and v must be NumPy arrays, got None");
  const std::int64_t count = read_int("adam_step", "step", step_object);
  if (count < 1)
    throw py::value_error("adam_step: step is " + std::to_string(count) + ", expected at least 1");
  const double b1 = a.number("beta1", beta1), b2 = a.number("beta2", beta2);
  const cpu::AdamStep step{a.param(),
                           a.grad(),
                           m,
                           v,
                           a.number("lr", lr),
                           b1,
                           b2,
                           a.number("eps", eps),
                           a.number("weight_decay", weight_decay),
                           decoupled,
                           1 - std::pow(b1, static_cast<double>(count)),
                           std::sqrt(1 - std::pow(b2, static_cast<double>(count)))};
  const py::gil_scoped_release release;
  cpu::adam_step(a.dtype(), step, a.elements());
}

}  // namespace

void bind_optimisers(py::module_& m) {
  m.def("sgd_step", &sgd_step);
  m.def("rmsprop_step", &rmsprop_step);
  m.def("adam_step", &adam_step);
}

}  // namespace fastconv::python
