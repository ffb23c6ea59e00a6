#include "python/elementwise_arguments.h"

namespace fastconv::python {

Array read_like(const py::object& object, const char* function, const char* name, const Array& like) {
  const Array a(object, function, name);
  require_same_dtype(function, like, a);
  if (a.shape() != like.shape()) {
    throw py::value_error(std::string(function) + ": " + name + " has shape " + shape_text(a.shape()) +
                          ", but " + like.name() + " has " + shape_text(like.shape()) +
                          "; they must be the same");
  }
  return a.contiguous();
}

Array read_in_place(const py::object& object, const char* function, const char* name) {
  const std::string where = std::string(function) + ": " + name;
  if (!py::isinstance<py::array>(object)) {
    throw py::type_error(where + " is changed in place and must be a NumPy array, got " +
                         std::string(py::str(py::type::handle_of(object).attr("__name__"))));
  }
  const Array a(object, function, name);
  if (!a.numpy().is(object) || !a.c_contiguous()) {
    throw py::value_error(where +
                          " is changed in place and must be C-contiguous, aligned and in native byte order");
  }
  if (!a.numpy().writeable()) throw py::value_error(where + " is changed in place, but is read-only");
  return a;
}

double read_number(const char* function, const char* name, const py::object& value) {
  const double x = PyFloat_AsDouble(value.ptr());
  if (x == -1.0 && PyErr_Occurred()) {
    PyErr_Clear();
    throw py::type_error(std::string(function) + ": " + name + " must be a number, got " +
                         std::string(py::repr(value)));
  }
  return x;
}

}  // namespace fastconv::python
