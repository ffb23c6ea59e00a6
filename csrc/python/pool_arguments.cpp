#include "python/pool_arguments.h"

#include <cmath>

#include "core/checked.h"
#include "python/padding.h"

namespace fastconv::python {
namespace {

// The innermost run of elements is contiguous: of channels in lanes, else of columns.
bool kernels_can_read(const ImageView& v, bool channels_last) {
  if (channels_last && v.channels > 1) return v.channel_stride == 1;
  return v.size[kAxes - 1] == 1 || v.stride[kAxes - 1] == 1;
}

// The sizes of the spatial axes, multiplied.
std::int64_t positions_of(const std::string& function, const char* name, const Shape& shape,
                          bool channels_last) {
  const std::size_t begin = channels_last ? 1 : 2, end = shape.size() - (channels_last ? 1 : 0);
  std::int64_t r = 1;
  for (std::size_t i = begin; i < end; ++i)
    if (!multiply_size(&r, shape[i])) {
      const std::string what = std::string(name) + " of shape " + shape_text(shape);
      SizeOf{function, what.c_str()}.too_large();
    }
  return r;
}

void require_spatial_axes(const std::string& function, const char* name, const Shape& x, bool channels_last) {
  if (x.size() >= 3) return;
  throw py::value_error(function + ": " + name + " has shape " + shape_text(x) + ", expected " +
                        (channels_last ? "(N, *spatial, C)" : "(N, C, *spatial)"));
}

}  // namespace

std::string ranked_name(const char* base, int rank) {
  if (rank < 1 || rank > kAxes) throw py::value_error(std::string(base) + ": rank must be 1, 2 or 3");
  return base + std::to_string(rank) + "d";
}

Shape PoolShape::with(std::int64_t new_channels, const std::int64_t (&new_size)[kAxes]) const {
  return image_shape(batch, new_channels, new_size, rank, channels_last, batched);
}

Shape PoolShape::pooled(const PoolProblem& problem) const {
  return with(channels, {problem.axis[0].output, problem.axis[1].output, problem.axis[2].output});
}

PoolShape read_pool_shape(const std::string& function, const char* name, const Shape& shape, int rank,
                          const py::object& data_format) {
  PoolShape s{rank, read_channels_last(function, data_format), false, 1, 1, {1, 1, 1}};
  const int axes = static_cast<int>(shape.size());
  if (axes != rank + 1 && axes != rank + 2) {
    static const char* const spatial[] = {"L", "H, W", "D, H, W"};
    const std::string inner =
        s.channels_last ? std::string(spatial[rank - 1]) + ", C" : std::string("C, ") + spatial[rank - 1];
    throw py::value_error(function + ": " + name + " has shape " + shape_text(shape) + ", expected (N, " +
                          inner + "), with or without N");
  }
  s.batched = axes == rank + 2;
  const int offset = s.batched ? 1 : 0;
  if (s.batched) s.batch = shape[0];
  s.channels = shape[static_cast<std::size_t>(s.channels_last ? axes - 1 : offset)];
  for (int i = 0; i < rank; ++i) {
    const std::int64_t size = shape[static_cast<std::size_t>(offset + i + (s.channels_last ? 0 : 1))];
    if (size < 1) {
      throw py::value_error(function + ": " + name + " has shape " + shape_text(shape) +
                            ", expected spatial axes of at least 1");
    }
    s.size[kAxes - rank + i] = size;
  }
  return s;
}

ImageView pool_view(void* data, Dtype dtype, const PoolShape& shape, const std::int64_t (&size)[kAxes]) {
  return contiguous_image(data, dtype, shape.batch, shape.channels, size, shape.channels_last);
}

PoolInput pool_input(const Array& array, const PoolShape& shape) {
  bool batched;
  const ImageView view = image_view(array, "", shape.rank, shape.channels_last, &batched);
  if (kernels_can_read(view, shape.channels_last)) return {array, view};
  const Array copy = array.contiguous();
  return {copy, pool_view(copy.data(), copy.dtype(), shape, shape.size)};
}

PoolInput reshaped_input(const Array& array, const PoolShape& shape) {
  const Array dense = array.contiguous();
  return {dense, pool_view(dense.data(), dense.dtype(), shape, shape.size)};
}

PoolProblem read_sliding(const std::string& function, const PoolShape& shape, const py::object& kernel_size,
                         const py::object& stride, const py::object& padding, const py::object& dilation,
                         const py::object& ceil_mode) {
  const char* name = function.c_str();
  std::int64_t kernel[kAxes], steps[kAxes], dilations[kAxes];
  read_axes(name, "kernel_size", kernel_size, shape.rank, 1, 1, kernel);
  read_axes(name, "stride", stride.is_none() ? kernel_size : stride, shape.rank, 1, 1, steps);
  read_axes(name, "dilation", dilation, shape.rank, 1, 1, dilations);
  return sliding_pool(function, shape.rank, shape.size, kernel, steps,
                      read_padding(name, padding, shape.rank), dilations,
                      read_flag(function, "ceil_mode", ceil_mode));
}

void read_divisor(const std::string& function, const py::object& count_include_pad,
                  const py::object& divisor_override, PoolProblem* problem) {
  problem->count_include_pad = read_flag(function, "count_include_pad", count_include_pad);
  if (divisor_override.is_none()) return;
  problem->divisor_override = read_int(function.c_str(), "divisor_override", divisor_override);
  if (problem->divisor_override == 0)
    throw py::value_error(function + ": divisor_override is 0, expected another int");
}

PoolProblem read_adaptive(const std::string& function, const PoolShape& shape,
                          const py::object& output_size) {
  const bool one_each = is_sequence(output_size);
  const auto given = one_each ? py::reinterpret_borrow<py::sequence>(output_size) : py::sequence(py::tuple());
  if (one_each && static_cast<int>(given.size()) != shape.rank) {
    throw py::value_error(function + ": output_size has " + std::to_string(given.size()) +
                          " values, expected " + std::to_string(shape.rank) +
                          " (one for each spatial axis) or a single one");
  }
  std::int64_t output[kAxes] = {1, 1, 1};
  for (int i = 0; i < shape.rank; ++i) {
    const int axis = kAxes - shape.rank + i;
    const py::object wanted = one_each ? py::object(given[i]) : output_size;
    output[axis] =
        wanted.is_none() ? shape.size[axis] : read_size(function.c_str(), "output_size", wanted, 1);
  }
  return adaptive_pool(function, shape.size, output);
}

void require_indexable(const std::string& function, const PoolProblem& problem) {
  if (problem.positions() <= kMostIndexedPositions) return;
  throw py::value_error(function + ": a plane has " + std::to_string(problem.positions()) +
                        " elements, but the indices of maxima are for at most " +
                        std::to_string(kMostIndexedPositions));
}

double read_norm(const std::string& function, const py::object& p) {
  const double value = PyFloat_AsDouble(p.ptr());
  if (PyErr_Occurred()) {
    PyErr_Clear();
    throw py::type_error(function + ": p must be a number, got " + std::string(py::repr(p)));
  }
  if (!(value > 0) || std::isinf(value)) {
    throw py::value_error(function + ": p is " + std::string(py::repr(p)) +
                          ", expected a positive, finite number");
  }
  return value;
}

Memory read_indices(const Call& call, const py::object& indices, const Shape& shape, const char* like) {
  Memory memory(indices, call.place(), call.function(), "indices");
  if (memory.element() != Element::int64)
    throw py::type_error(memory.where() + " has dtype " + memory.dtype_text() + ", expected int64");
  if (memory.shape() != shape) {
    throw py::value_error(memory.where() + " has shape " + shape_text(memory.shape()) +
                          ", expected that of " + like + ", " + shape_text(shape));
  }
  memory.make_regular();
  memory.make_contiguous();
  return memory;
}

void require_shape(const std::string& function, const Array& array, const Shape& expected) {
  if (array.shape() == expected) return;
  throw py::value_error(function + ": " + array.name() + " has shape " + shape_text(array.shape()) +
                        ", expected " + shape_text(expected));
}

ReshapedPool global_pool(const std::string& function, const char* name, const Shape& x,
                         const py::object& keepdims, const py::object& data_format) {
  const bool channels_last = read_channels_last(function, data_format);
  const bool keep = read_flag(function, "keepdims", keepdims);
  require_spatial_axes(function, name, x, channels_last);
  const std::size_t axes = x.size();
  const std::int64_t channels = channels_last ? x.back() : x[1];
  const std::int64_t positions = positions_of(function, name, x, channels_last);
  ReshapedPool r{{1, channels_last, true, x[0], channels, {1, 1, positions}}, {}, {x[0]}};
  r.problem = adaptive_pool(function, r.shape.size, {1, 1, 1});
  if (!channels_last) r.result.push_back(channels);
  if (keep) r.result.insert(r.result.end(), axes - 2, 1);
  if (channels_last) r.result.push_back(channels);
  return r;
}

ReshapedPool channel_pool(const std::string& function, const char* name, const Shape& x,
                          const py::object& pool_size, const py::object& stride,
                          const py::object& data_format) {
  const bool channels_last = read_channels_last(function, data_format);
  require_spatial_axes(function, name, x, channels_last);
  const std::size_t axes = x.size(), channel_axis = channels_last ? axes - 1 : 1;
  const std::int64_t channels = x[channel_axis];
  const std::int64_t positions = positions_of(function, name, x, channels_last);
  const std::int64_t ones[kAxes] = {1, 1, 1};
  const std::int64_t kernel[kAxes] = {1, 1, read_size(function.c_str(), "pool_size", pool_size, 1)};
  const std::int64_t steps[kAxes] = {
      1, 1, stride.is_none() ? kernel[2] : read_size(function.c_str(), "stride", stride, 1)};
  if (kernel[2] > channels) {
    throw py::value_error(function + ": pool_size is " + std::to_string(kernel[2]) + ", but " + name +
                          " has " + std::to_string(channels) + " channels");
  }
  ReshapedPool r;
  if (channels_last) {
    r.shape = {2, false, true, x[0], 1, {1, positions, channels}};
  } else {
    r.shape = {1, true, true, x[0], positions, {1, 1, channels}};
  }
  r.problem = sliding_pool(function, 1, {1, 1, channels}, kernel, steps, PaddingSpec(), ones, false);
  if (channels_last) r.problem.axis[1].input = r.problem.axis[1].output = positions;
  r.result = x;
  r.result[channel_axis] = r.problem.axis[2].output;
  return r;
}

}  // namespace fastconv::python
