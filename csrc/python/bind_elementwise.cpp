// Activations, softmax and masks.
#include "core/activation_names.h"
#include "cpu/elementwise.h"
#include "python/elementwise_arguments.h"
#include "python/result.h"

namespace fastconv::python {
namespace {

Activation read_name(const char* function, const py::object& name) {
  std::string known;
  int kind = 0;
  for (const char* word : kActivationNames) {
    ++kind;
    if (py::isinstance<py::str>(name) && py::cast<std::string>(name) == word)
      return static_cast<Activation>(kind);
    known += (kind > 1 ? ", '" : "'") + std::string(word) + "'";
  }
  throw py::value_error(std::string(function) + ": name is " + std::string(py::repr(name)) +
                        ", expected one of " + known);
}

py::object activation(const py::object& x_object, const py::object& name, const py::object& out) {
  const char* function = "activation";
  const Array x = Array(x_object, function, "x").contiguous();
  const Activation kind = read_name(function, name);
  Result y(out, x.shape(), x, {&x});
  void* data = y.data();
  without_gil(function, [&] { cpu::activation(kind, x.dtype(), x.data(), data, x.elements()); });
  return y.finish();
}

py::object activation_grad(const py::object& dy_object, const py::object& name, const py::object& x,
                           const py::object& y, const py::object& out) {
  const char* function = "activation_grad";
  const Array dy = Array(dy_object, function, "dy").contiguous();
  const Activation kind = read_name(function, name);
  const bool from_x = slope_needs_input(kind);
  const py::object& source = from_x ? x : y;
  if (source.is_none()) {
    throw py::value_error(std::string(function) + ": the gradient of '" + name_of(kind) + "' needs " +
                          (from_x ? "x, the activation's input" : "y, the activation's result"));
  }
  const Array at = read_like(source, function, from_x ? "x" : "y", dy);
  Result dx(out, dy.shape(), dy, {&dy, &at});
  void* data = dx.data();
  without_gil(function,
              [&] { cpu::activation_grad(kind, dy.dtype(), dy.data(), at.data(), data, dy.elements()); });
  return dx.finish();
}

py::object add(const py::object& a_object, const py::object& b_object, const py::object& name,
               const py::object& out) {
  const char* function = "add";
  const Array a = Array(a_object, function, "a").contiguous();
  const Array b = read_like(b_object, function, "b", a);
  const Activation kind = name.is_none() ? Activation::none : read_name(function, name);
  Result y(out, a.shape(), a, {&a, &b});
  void* data = y.data();
  without_gil(function, [&] { cpu::add(kind, a.dtype(), a.data(), b.data(), data, a.elements()); });
  return y.finish();
}

// Rows of the last axis.
std::int64_t last_axis(const char* function, const Array& x) {
  if (x.ndim() == 0) throw py::value_error(std::string(function) + ": " + x.name() + " has no axis");
  return x.size(x.ndim() - 1);
}
std::int64_t row_count(const Array& x, std::int64_t cols) { return cols == 0 ? 0 : x.elements() / cols; }

py::array softmax(const py::object& x_object) {
  const char* function = "softmax";
  const Array x = Array(x_object, function, "x").contiguous();
  const std::int64_t cols = last_axis(function, x);
  py::array y = new_array(function, x.shape(), x.numpy_dtype());
  void* data = y.mutable_data();
  without_gil(function, [&] { cpu::softmax(x.dtype(), x.data(), data, row_count(x, cols), cols); });
  return y;
}

py::array softmax_grad(const py::object& dy_object, const py::object& y_object) {
  const char* function = "softmax_grad";
  const Array dy = Array(dy_object, function, "dy").contiguous();
  const Array y = read_like(y_object, function, "y", dy);
  const std::int64_t cols = last_axis(function, dy);
  py::array dx = new_array(function, dy.shape(), dy.numpy_dtype());
  void* data = dx.mutable_data();
  without_gil(function,
              [&] { cpu::softmax_grad(dy.dtype(), dy.data(), y.data(), data, row_count(dy, cols), cols); });
  return dx;
}

py::array scale_mask(const py::object& x_object, const py::object& mask_object,
                     const py::object& scale_object) {
  const char* function = "scale_mask";
  const Array x = Array(x_object, function, "x").contiguous();
  const double scale = read_number(function, "scale", scale_object);
  if (!py::isinstance<py::array>(mask_object)) throw py::type_error("scale_mask: mask must be a NumPy array");
  auto mask = py::reinterpret_borrow<py::array>(mask_object);
  const char kind = mask.dtype().kind();
  if (mask.itemsize() != 1 || (kind != 'b' && kind != 'u')) {
    throw py::type_error("scale_mask: mask has dtype " + std::string(py::str(mask.dtype())) +
                         ", expected bool or uint8");
  }
  const Shape shape(mask.shape(), mask.shape() + mask.ndim());
  if (shape != x.shape()) {
    throw py::value_error("scale_mask: mask has shape " + shape_text(shape) + ", but x has " +
                          shape_text(x.shape()));
  }
  mask = py::array::ensure(mask, py::array::c_style);
  py::array y = new_array(function, x.shape(), x.numpy_dtype());
  void* data = y.mutable_data();
  const auto* bytes = static_cast<const std::uint8_t*>(mask.data());
  without_gil(function, [&] { cpu::scale_mask(x.dtype(), x.data(), bytes, scale, data, x.elements()); });
  return y;
}

}  // namespace

void bind_elementwise(py::module_& m) {
  m.def("activation", &activation, py::arg("x"), py::arg("name"), py::arg("out") = py::none());
  m.def("activation_grad", &activation_grad, py::arg("dy"), py::arg("name"), py::arg("x") = py::none(),
        py::arg("y") = py::none(), py::arg("out") = py::none());
  m.def("add", &add, py::arg("a"), py::arg("b"), py::arg("activation") = py::none(),
        py::arg("out") = py::none());
  m.def("softmax", &softmax);
  m.def("softmax_grad", &softmax_grad);
  m.def("scale_mask", &scale_mask);
  bind_normalisation(m);
  bind_losses(m);
  bind_optimisers(m);
}

}  // namespace fastconv::python
