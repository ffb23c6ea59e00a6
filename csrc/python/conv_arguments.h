// The arguments that all convolutions share, read and checked.
#pragma once

#include <array>
#include <optional>
#include <string>

#include "core/activation_names.h"
#include "core/conv_problem.h"
#include "core/product_kind.h"
#include "python/array.h"

namespace fastconv::python {

Precision read_precision(const std::string& function,
                         const py::object& value);  // None: what default_precision() tells
Activation read_activation(const std::string& function, const py::object& value);
std::array<bool, 3> read_needs(const std::string& function, const py::object& value);

// What calls without a precision of their own promise: that of the process, unless this thread holds another.
void set_default_precision(const py::object& value);
void hold_precision(const py::object& value);  // for this thread alone; None takes it back
std::string default_precision();

// One call of a convolution: first its keywords, then (complete) the arrays' shapes, which make it a
// ConvProblem.
struct ConvCall {
  ConvCall(const char* name, int rank, bool transposed, const py::object& stride, const py::object& padding,
           const py::object& output_padding, const py::object& dilation, const py::object& groups,
           const py::object& padding_mode, const py::object& data_format, const py::object& activation,
           const py::object& precision, const py::object& algorithm);

  // Fits x and w's shape to the keywords; x as a view.
  ImageView complete(const Array& x, const Shape& filter_shape);
  // The same from shapes alone.
  void complete(const Shape& x_shape, const Shape& filter_shape);
  std::unique_ptr<ConvRoute> route(Backend& backend, Direction direction, Dtype dtype) const;
  // What the call itself, and the gradient by its images, is of the problem.
  Direction forward_direction() const { return transposed ? Direction::input_gradient : Direction::forward; }
  Direction adjoint_direction() const { return transposed ? Direction::forward : Direction::input_gradient; }
  // The two kinds of convolution share everything but which side of the problem the result is on.
  const std::int64_t (&result_size() const)[kAxes] { return transposed ? problem.input : problem.output; }
  std::int64_t result_channels() const { return transposed ? problem.in_channels : problem.out_channels; }
  Shape result_shape() const {
    return image_shape(problem.batch, result_channels(), result_size(), problem.rank, channels_last, batched);
  }
  // Whether the gradient of the activation is made of the call's result.
  bool slope_needs_result() const { return activation != Activation::none && !slope_needs_input(activation); }

  std::string function;
  bool transposed, channels_last, batched = true;
  Activation activation;
  Precision precision;
  std::string algorithm;
  ConvProblem problem;

 private:
  void complete(std::int64_t batch, std::int64_t channels, const std::int64_t (&size)[kAxes],
                const Shape& filter_shape);
  ConvArguments arguments_;
};

// What the call log says of how products are computed; `route` names the algorithm or algorithms.
std::string route_text(Precision precision, const std::string& route);

// The routes of a gradient, null for what is not wanted: one name, or both where they differ.
std::string routes_text(const char* dx, const char* dw);

void bind_explain(py::module_& m);

}  // namespace fastconv::python
