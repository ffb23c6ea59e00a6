// Losses with their gradients by the prediction.
#include "cpu/losses.h"
#include "python/elementwise_arguments.h"
#include "python/result.h"

namespace fastconv::python {
namespace {

py::array read_target(const py::object& object) {
  Place::host().require(object, "cross_entropy", "target");
  const auto numpy = py::module_::import("numpy");
  const bool listed = is_sequence(object) && !py::hasattr(object, "__dlpack__");
  return as_numpy(listed ? py::object(numpy.attr("asarray")(object)) : object, "cross_entropy", "target");
}

// Integer labels of shape (rows,), as contiguous int64, each checked to be a class.
py::array read_labels(const py::array& given, std::int64_t rows, std::int64_t classes) {
  const std::string where = "cross_entropy: target";
  const auto numpy = py::module_::import("numpy");
  const char kind = given.dtype().kind();
  if (kind != 'i' && kind != 'u') {
    throw py::type_error(where + " must be integers (N,), or (N, C) of the prediction's dtype, got dtype " +
                         std::string(py::str(given.dtype())) + " and shape " +
                         shape_text(Shape(given.shape(), given.shape() + given.ndim())));
  }
  if (given.ndim() != 1 || given.shape(0) != rows) {
    throw py::value_error(where + " has shape " +
                          shape_text(Shape(given.shape(), given.shape() + given.ndim())) + ", expected " +
                          shape_text({rows}) + ", one class for each row of the prediction");
  }
  const py::array labels = py::cast<py::array>(numpy.attr("ascontiguousarray")(given, "int64"));
  const auto* label = static_cast<const std::int64_t*>(labels.data());
  for (std::int64_t i = 0; i < rows; ++i) {
    if (label[i] < 0 || label[i] >= classes) {
      throw py::value_error(where + "[" + std::to_string(i) + "] is " + std::to_string(label[i]) +
                            ", expected 0 to " + std::to_string(classes - 1) + " for a prediction of " +
                            std::to_string(classes) + " classes");
    }
  }
  return labels;
}

py::tuple cross_entropy(const py::object& prediction_object, const py::object& target_object,
                        const py::object& smoothing_object) {
  const char* function = "cross_entropy";
  const Array prediction = Array(prediction_object, function, "prediction").contiguous();
  if (prediction.ndim() != 2) {
    throw py::value_error("cross_entropy: prediction has shape " + shape_text(prediction.shape()) +
                          ", expected (N, C)");
  }
  const double smoothing = read_number(function, "label_smoothing", smoothing_object);
  if (!(smoothing >= 0 && smoothing <= 1)) {
    throw py::value_error("cross_entropy: label_smoothing is " + std::string(py::repr(smoothing_object)) +
                          ", expected 0 to 1");
  }
  const py::array target = read_target(target_object);
  py::array labels;
  std::optional<Array> weights;
  cpu::ClassTargets given{};
  if (target.ndim() == 2) {
    weights.emplace(read_like(target, function, "target", prediction));
    given.targets = weights->data();
  } else {
    labels = read_labels(target, prediction.size(0), prediction.size(1));
    given.labels = static_cast<const std::int64_t*>(labels.data());
  }
  py::array gradient = new_array(function, prediction.shape(), prediction.numpy_dtype());
  void* data = gradient.mutable_data();
  double loss;
  without_gil(function, [&] {
    loss = cpu::cross_entropy(prediction.dtype(), prediction.data(), given, prediction.size(0),
                              prediction.size(1), smoothing, data);
  });
  return py::make_tuple(loss, gradient);
}

using ElementLoss = double (*)(Dtype, const void*, const void*, std::int64_t, void*);

py::tuple element_loss(const char* function, ElementLoss driver, const Array& prediction,
                       const Array& target) {
  py::array gradient = new_array(function, prediction.shape(), prediction.numpy_dtype());
  void* data = gradient.mutable_data();
  double loss;
  without_gil(function, [&] {
    loss = driver(prediction.dtype(), prediction.data(), target.data(), prediction.elements(), data);
  });
  return py::make_tuple(loss, gradient);
}

py::tuple binary_cross_entropy_with_logits(const py::object& prediction_object, const py::object& target) {
  const char* function = "binary_cross_entropy_with_logits";
  const Array prediction = Array(prediction_object, function, "prediction").contiguous();
  return element_loss(function, cpu::binary_cross_entropy, prediction,
                      read_like(target, function, "target", prediction));
}

py::tuple mse(const py::object& prediction_object, const py::object& target) {
  const char* function = "mse";
  const Array prediction = Array(prediction_object, function, "prediction").contiguous();
  return element_loss(function, cpu::mean_squared_error, prediction,
                      read_like(target, function, "target", prediction));
}

}  // namespace

void bind_losses(py::module_& m) {
  m.def("cross_entropy", &cross_entropy);
  m.def("binary_cross_entropy_with_logits", &binary_cross_entropy_with_logits);
  m.def("mse", &mse);
}

}  // namespace fastconv::python
