// Where the maxima of a pool came from, as a layer keeps it for the gradient: which tap of its window each of
// them is, in one byte, where that can be told (cpu::finds_taps), else flat positions. On the host alone.
#pragma once

#include "python/pool_arguments.h"

namespace fastconv::python {

class PoolIndex {
 public:
  // For arrays like `like`: of inputs of shape `x`.
  PoolIndex(const Array& like, const PoolShape& x, const PoolProblem& problem);

  // y = pool(x) of neighbouring images, the first of which is `image` in the batch, and their places.
  void pool(const ImageView& x, const ImageView& y, std::int64_t image) const;
  // dx of the whole batch.
  py::object gradient(const py::object& dy) const;

 private:
  const std::string gradient_name_;
  const PoolShape shape_;
  const PoolProblem problem_;
  const bool taps_;
  const py::array array_;
  void* const data_;
};

void bind_pool_index(py::module_& m);

}  // namespace fastconv::python
