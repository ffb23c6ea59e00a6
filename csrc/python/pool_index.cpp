#include "python/pool_index.h"

#include "cpu/pool.h"
#include "python/result.h"

namespace fastconv::python {
namespace {

ImageView result_view(void* data, Dtype dtype, const PoolShape& shape, const PoolProblem& problem) {
  return pool_view(data, dtype, shape,
                   {problem.axis[0].output, problem.axis[1].output, problem.axis[2].output});
}

// (y, index) as max_pool's arguments have it.
py::tuple max_pool_with_index(int rank, const py::object& x, const py::object& kernel_size,
                              const py::object& stride, const py::object& padding, const py::object& dilation,
                              const py::object& ceil_mode, const py::object& data_format) {
  const std::string function = ranked_name("max_pool", rank);
  Place::host().require(x, function.c_str(), "x");
  Call call(function.c_str(), x, "x");
  const Array array = call.read(x, "x");
  const PoolShape shape = read_pool_shape(function, "x", array.shape(), rank, data_format);
  const PoolProblem problem =
      read_sliding(function, shape, kernel_size, stride, padding, dilation, ceil_mode);
  if (call.logged()) call.say({&array}, "to " + shape_text(shape.pooled(problem)));
  const PoolInput input = pool_input(array, shape);
  auto index = std::make_unique<PoolIndex>(array, shape, problem);
  const NewArray y = new_like(array, shape.pooled(problem));
  call.run([&] { index->pool(input.view, result_view(y.data, array.dtype(), shape, problem), 0); });
  return py::make_tuple(y.object, std::move(index));
}

}  // namespace

PoolIndex::PoolIndex(const Array& like, const PoolShape& x, const PoolProblem& problem)
    : gradient_name_(ranked_name("grad.max_pool", x.rank)),
      shape_(x),
      problem_(problem),
      taps_(cpu::finds_taps(problem, x.channels_last && x.channels > 1)),
      array_(new_array(like.function(), x.pooled(problem),
                       taps_ ? py::dtype::of<std::uint8_t>() : py::dtype::of<std::int64_t>())),
      data_(const_cast<void*>(array_.data())) {
  if (!taps_) require_indexable(like.function(), problem);
}

void PoolIndex::pool(const ImageView& x, const ImageView& y, std::int64_t image) const {
  const std::int64_t at = image * y.batch_stride;
  if (taps_) {
    cpu::max_pool_taps(problem_, x, y, static_cast<std::uint8_t*>(data_) + at, shape_.channels_last);
  } else {
    cpu::pool(problem_, PoolOperation::max, 0, x, y, static_cast<std::int64_t*>(data_) + at,
              shape_.channels_last);
  }
}

py::object PoolIndex::gradient(const py::object& dy_object) const {
  const char* function = gradient_name_.c_str();
  Place::host().require(dy_object, function, "dy");
  Call call(function, dy_object, "dy");
  const Array dy = call.read(dy_object, "dy").contiguous();
  require_shape(gradient_name_, dy, shape_.pooled(problem_));
  if (call.logged()) call.say({&dy}, "to " + shape_text(shape_.shape()));
  const NewArray dx = new_like(dy, shape_.shape());
  const ImageView from = result_view(dy.data(), dy.dtype(), shape_, problem_);
  const ImageView to = pool_view(dx.data, dy.dtype(), shape_, shape_.size);
  call.run([&] {
    if (taps_) {
      cpu::scatter_taps(problem_, from, static_cast<const std::uint8_t*>(data_), to, shape_.channels_last);
    } else {
      cpu::scatter_sums({function, from, to, static_cast<const std::int64_t*>(data_), shape_.channels_last});
    }
  });
  return dx.object;
}

void bind_pool_index(py::module_& m) {
  py::class_<PoolIndex>(m, "PoolIndex").def("gradient", &PoolIndex::gradient);
  m.def("max_pool_with_index", &max_pool_with_index);
}

}  // namespace fastconv::python
