// What the bindings of the pools and of their gradients read from Python, and the views they make of it.
#pragma once

#include <string>

#include "core/pool_operation.h"
#include "core/pool_problem.h"
#include "python/call.h"

namespace fastconv::python {

// "max_pool2d" of ("max_pool", 2). Throws ValueError where the rank is not 1, 2 or 3.
std::string ranked_name(const char* base, int rank);

// N, C and the spatial sizes of an array, in either layout, with or without N.
struct PoolShape {
  int rank;
  bool channels_last, batched;
  std::int64_t batch, channels, size[kAxes];

  Shape with(std::int64_t new_channels, const std::int64_t (&new_size)[kAxes]) const;
  Shape shape() const { return with(channels, size); }
  Shape pooled(const PoolProblem& problem) const;
};

// Spatial axes without an element are a ValueError.
PoolShape read_pool_shape(const std::string& function, const char* name, const Shape& shape, int rank,
                          const py::object& data_format);

// An input array as the kernels want it: itself, or a C-contiguous copy where its innermost run has a stride.
struct PoolInput {
  Array array;
  ImageView view;
};
PoolInput pool_input(const Array& array, const PoolShape& shape);
// The same of arrays that are C-contiguous, and of results.
ImageView pool_view(void* data, Dtype dtype, const PoolShape& shape, const std::int64_t (&size)[kAxes]);

// kernel_size, stride, padding, dilation, ceil_mode
PoolProblem read_sliding(const std::string& function, const PoolShape& shape, const py::object& kernel_size,
                         const py::object& stride, const py::object& padding, const py::object& dilation,
                         const py::object& ceil_mode);
void read_divisor(const std::string& function, const py::object& count_include_pad,
                  const py::object& divisor_override, PoolProblem* problem);
// An int or None, or one of them for each axis; None keeps the axis.
PoolProblem read_adaptive(const std::string& function, const PoolShape& shape, const py::object& output_size);
// Throws ValueError where planes are too large for the indices of their maxima.
void require_indexable(const std::string& function, const PoolProblem& problem);
double read_norm(const std::string& function, const py::object& p);

// int64, C-contiguous, of the given shape.
Memory read_indices(const Call& call, const py::object& indices, const Shape& shape, const char* like);
void require_shape(const std::string& function, const Array& array, const Shape& expected);

// A pool whose arrays are not (N, C, *spatial) to the kernels: `shape` is the input as they see it, `result`
// as Python does.
struct ReshapedPool {
  PoolShape shape;
  PoolProblem problem;
  Shape result;
};
// Over all spatial axes, as (N, C, positions).
ReshapedPool global_pool(const std::string& function, const char* name, const Shape& x,
                         const py::object& keepdims, const py::object& data_format);
// Over channels: as (N, channels, positions) with the positions in lanes, or as rows of channels (N, 1,
// positions, channels).
ReshapedPool channel_pool(const std::string& function, const char* name, const Shape& x,
                          const py::object& pool_size, const py::object& stride,
                          const py::object& data_format);
// `array` as `shape` sees it.
PoolInput reshaped_input(const Array& array, const PoolShape& shape);

void bind_pool_gradients(py::module_& m);

}  // namespace fastconv::python
