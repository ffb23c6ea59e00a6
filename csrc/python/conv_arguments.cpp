#include "python/conv_arguments.h"

#include <algorithm>
#include <atomic>
#include <iterator>

#include "python/padding.h"

namespace fastconv::python {
namespace {

std::atomic<Precision> process_precision{Precision::highest};
thread_local std::optional<Precision> held_precision;

Precision current_precision() { return held_precision ? *held_precision : process_precision.load(); }

const char* const kPrecisions[] = {"highest", "high", "medium"};
const char* const kPaddingModes[] = {"zeros", "reflect", "replicate", "circular"};

// The index of a word in a list, or a ValueError that gives the list.
template <std::size_t N>
int read_word(const std::string& function, const char* name, const py::object& value,
              const char* const (&words)[N]) {
  if (py::isinstance<py::str>(value)) {
    const auto word = py::cast<std::string>(value);
    for (std::size_t i = 0; i < N; ++i)
      if (word == words[i]) return static_cast<int>(i);
  }
  std::string text = function + ": " + name + " is " + std::string(py::repr(value)) + ", expected ";
  for (std::size_t i = 0; i < N; ++i)
    text += std::string(i == 0 ? "'" : i + 1 == N ? " or '" : ", '") + words[i] + "'";
  throw py::value_error(text);
}

}  // namespace

Precision read_precision(const std::string& function, const py::object& value) {
  if (value.is_none()) return current_precision();
  return static_cast<Precision>(read_word(function, "precision", value, kPrecisions));
}

void set_default_precision(const py::object& value) {
  process_precision.store(static_cast<Precision>(read_word("set_precision", "p", value, kPrecisions)));
}

void hold_precision(const py::object& value) {
  if (value.is_none()) {
    held_precision.reset();
  } else {
    held_precision = static_cast<Precision>(read_word("precision", "p", value, kPrecisions));
  }
}

std::string default_precision() { return kPrecisions[static_cast<int>(current_precision())]; }

Activation read_activation(const std::string& function, const py::object& value) {
  if (value.is_none()) return Activation::none;
  return static_cast<Activation>(read_word(function, "activation", value, kActivationNames) + 1);
}

std::array<bool, 3> read_needs(const std::string& function, const py::object& value) {
  std::array<bool, 3> needs{};
  if (!is_sequence(value) || py::len(value) != 3) {
    throw py::value_error(function + ": needs is " + std::string(py::repr(value)) +
                          ", expected three bools: for dx, dw and db");
  }
  const auto sequence = py::reinterpret_borrow<py::sequence>(value);
  for (std::size_t i = 0; i < 3; ++i) {
    const std::string name = "needs[" + std::to_string(i) + "]";
    needs[i] = read_flag(function, name.c_str(), py::object(sequence[i]));
  }
  return needs;
}

ConvCall::ConvCall(const char* name, int rank, bool is_transposed, const py::object& stride,
                   const py::object& padding, const py::object& output_padding, const py::object& dilation,
                   const py::object& groups, const py::object& padding_mode, const py::object& data_format,
                   const py::object& activation_object, const py::object& precision_object,
                   const py::object& algorithm_object)
    : function(std::string(name) + std::to_string(rank) + "d"), transposed(is_transposed) {
  ConvArguments& a = arguments_;
  const char* f = function.c_str();
  a.function = function;
  a.rank = rank;
  read_axes(f, "stride", stride, rank, 1, 1, a.stride);
  read_axes(f, "dilation", dilation, rank, 1, 1, a.dilation);
  read_axes(f, "output_padding", output_padding, rank, 0, 0, a.output_padding);
  a.padding = read_padding(f, padding, rank);
  if (transposed &&
      (a.padding.kind == PaddingSpec::Kind::full || a.padding.kind == PaddingSpec::Kind::causal)) {
    throw py::value_error(function + ": padding is " + std::string(py::repr(padding)) +
                          ", expected numbers, 'valid' or 'same'");
  }
  if (a.padding.kind == PaddingSpec::Kind::same &&
      std::any_of(std::begin(a.output_padding), std::end(a.output_padding), [](auto n) { return n != 0; })) {
    throw py::value_error(function + ": output_padding is " + std::string(py::repr(output_padding)) +
                          ", but padding='same' makes the output input * stride long; expected 0 with it");
  }
  a.groups = read_int(f, "groups", groups);
  a.mode = static_cast<PaddingMode>(read_word(function, "padding_mode", padding_mode, kPaddingModes));
  channels_last = read_channels_last(function, data_format);
  activation = read_activation(function, activation_object);
  precision = read_precision(function, precision_object);
  if (!py::isinstance<py::str>(algorithm_object)) {
    throw py::type_error(function + ": algorithm must be a str, got " +
                         std::string(py::repr(algorithm_object)));
  }
  algorithm = py::cast<std::string>(algorithm_object);
}

void ConvCall::complete(std::int64_t batch, std::int64_t channels, const std::int64_t (&size)[kAxes],
                        const Shape& filter_shape) {
  arguments_.batch = batch;
  arguments_.channels = channels;
  for (int i = 0; i < kAxes; ++i) arguments_.size[i] = size[i];
  arguments_.filter_shape = filter_shape;
  problem = transposed ? make_conv_transpose_problem(arguments_) : make_conv_problem(arguments_);
}

ImageView ConvCall::complete(const Array& x, const Shape& filter_shape) {
  const ImageView v = image_view(x, function.c_str(), arguments_.rank, channels_last, &batched);
  complete(v.batch, v.channels, v.size, filter_shape);
  return v;
}

void ConvCall::complete(const Shape& x_shape, const Shape& filter_shape) {
  const int rank = arguments_.rank, ndim = static_cast<int>(x_shape.size());
  if (ndim != rank + 1 && ndim != rank + 2) {
    throw py::value_error(function + ": x_shape is " + shape_text(x_shape) + ", expected " +
                          std::to_string(rank + 2) + " sizes, or " + std::to_string(rank + 1) +
                          " without the batch");
  }
  batched = ndim == rank + 2;
  const std::size_t first = batched ? 1 : 0;
  std::int64_t size[kAxes] = {1, 1, 1};
  for (int i = 0; i < rank; ++i)
    size[kAxes - rank + i] = x_shape[first + static_cast<std::size_t>(i) + (channels_last ? 0 : 1)];
  complete(batched ? x_shape[0] : 1, channels_last ? x_shape.back() : x_shape[first], size, filter_shape);
}

std::unique_ptr<ConvRoute> ConvCall::route(Backend& backend, Direction direction, Dtype dtype) const {
  return backend.conv_route(function, problem, direction, dtype, precision, algorithm);
}

std::string route_text(Precision precision, const std::string& route) {
  return std::string(kPrecisions[static_cast<int>(precision)]) + ": " + route;
}

std::string routes_text(const char* dx, const char* dw) {
  if (!dx && !dw) return "no product";
  if (!dx || !dw) return dx ? dx : dw;
  return std::string(dx) == dw ? dx : std::string(dx) + " (dx), " + dw + " (dw)";
}

}  // namespace fastconv::python
