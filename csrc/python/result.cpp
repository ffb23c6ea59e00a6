#include "python/result.h"

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "core/buffer_pool.h"
#include "core/checked.h"

namespace fastconv::python {
namespace {

// Smaller results are better off with NumPy's own allocator.
constexpr std::int64_t kPoolWorthBytes = 64 << 10;

std::string result_text(const Shape& shape) { return "the result of shape " + shape_text(shape); }

std::int64_t checked_bytes(const std::string& function, const Shape& shape, std::int64_t itemsize) {
  for (const auto n : shape)
    if (!multiply_size(&itemsize, n)) SizeOf{function, result_text(shape).c_str()}.too_large();
  return itemsize;
}

NewArray in_library(const Array& like, const Shape& shape, const char* dtype, std::int64_t itemsize) {
  checked_bytes(like.function(), shape, itemsize);
  const py::object object = like.place().empty(shape, dtype);
  return {object, Memory(object, like.place(), like.function(), "the result").data()};
}

NewArray of_numpy(py::array array) {
  void* data = array.mutable_data();
  return {std::move(array), data};
}

// Where strides nest, as those of all slices and transpositions do, no two elements share memory.
bool may_overlap_itself(const Memory& m) {
  const Shape strides = m.strides_in_bytes();
  std::vector<std::pair<std::int64_t, std::int64_t>> axes;  // distance between elements, their number
  for (int i = 0; i < m.ndim(); ++i) {
    if (m.size(i) == 0) return false;
    if (m.size(i) > 1) axes.emplace_back(std::abs(strides[static_cast<std::size_t>(i)]), m.size(i));
  }
  std::sort(axes.begin(), axes.end());
  std::int64_t extent = m.view().itemsize;
  for (const auto& [distance, count] : axes) {
    if (distance < extent) return true;
    extent += (count - 1) * distance;
  }
  return false;
}

// The addresses from that of the lowest element to the end of the highest.
struct Extent {
  std::intptr_t begin, end;

  explicit Extent(const Memory& m) : begin(reinterpret_cast<std::intptr_t>(m.data())), end(begin) {
    if (m.elements() == 0) return;
    for (int i = 0; i < m.ndim(); ++i) {
      const std::int64_t reach = (m.size(i) - 1) * m.stride(i) * m.view().itemsize;
      (reach < 0 ? begin : end) += reach;
    }
    end += m.view().itemsize;
  }
};

bool may_share_memory(const Memory& a, const Memory& b) {
  const Extent first(a), second(b);
  return first.begin < second.end && second.begin < first.end;
}

}  // namespace

py::array new_array(const std::string& function, const Shape& shape, const py::dtype& dtype) {
  const std::int64_t bytes = checked_bytes(function, shape, dtype.itemsize());
  if (bytes < kPoolWorthBytes) return py::array(dtype, shape);
  std::unique_ptr<Buffer> buffer;
  try {
    buffer = std::make_unique<Buffer>(bytes);
  } catch (const std::bad_alloc&) {
    throw OutOfMemory(function + ": could not get " + std::to_string(bytes) + " bytes for " +
                      result_text(shape));
  }
  void* data = buffer->data();
  py::capsule owner(buffer.release(), [](void* p) { delete static_cast<Buffer*>(p); });
  return py::array(dtype, shape, data, owner);
}

NewArray new_like(const Array& like, const Shape& shape) {
  if (like.place().on_host()) return of_numpy(new_array(like.function(), shape, like.numpy_dtype()));
  return in_library(like, shape, name_of(like.dtype()), size_of(like.dtype()));
}

NewArray new_indices(const Array& like, const Shape& shape) {
  if (like.place().on_host())
    return of_numpy(new_array(like.function(), shape, py::dtype::of<std::int64_t>()));
  return in_library(like, shape, "int64", sizeof(std::int64_t));
}

Memory read_out(const py::object& out, const Place& place, const Shape& shape, Dtype type,
                const char* function) {
  const std::string where = std::string(function) + ": out";
  place.require(out, function, "out");
  if (place.on_host() && !py::isinstance<py::array>(out)) {
    throw py::type_error(where + " must be a NumPy array, got " +
                         std::string(py::str(py::type::handle_of(out).attr("__name__"))));
  }
  Memory given(out, place, function, "out");
  if (given.element() != static_cast<Element>(type)) {
    throw py::type_error(where + " has dtype " + given.dtype_text() + ", expected " + name_of(type));
  }
  if (given.shape() != shape) {
    throw py::value_error(where + " has shape " + shape_text(given.shape()) + ", expected " +
                          shape_text(shape));
  }
  if (!given.writable()) throw py::value_error(where + " is read-only");
  if (may_overlap_itself(given)) {
    throw py::value_error(where + " has strides of " + shape_text(given.strides_in_bytes()) +
                          " bytes, with which its elements share memory; expected an array that has a place "
                          "for each");
  }
  if (!place.on_host()) given.make_regular();
  return given;
}

Result::Result(const py::object& out, const Shape& shape, const Array& like,
               std::initializer_list<const Array*> inputs) {
  if (out.is_none()) {
    target_ = new_like(like, shape);
    return;
  }
  Memory given = read_out(out, like.place(), shape, like.dtype(), like.function());
  const bool direct =
      given.regular() && given.c_contiguous() &&
      std::none_of(inputs.begin(), inputs.end(), [&](auto* a) { return a && may_share_memory(given, *a); });
  if (direct) {
    target_ = {out, given.data()};
  } else {
    target_ = new_like(like, shape);
    out_.emplace(std::move(given));
    given_ = out;
  }
}

py::object Result::finish() {
  if (!out_) return std::move(target_.object);
  if (out_->place().on_host()) {
    given_[py::ellipsis()] = target_.object;  // NumPy knows all byte orders and alignments
  } else {
    StridedArray from = out_->view();
    from.data = target_.data;
    set_c_order(&from);
    without_gil(out_->function(), [&] { out_->place().backend().copy(from, out_->view()); });
  }
  return given_;
}

}  // namespace fastconv::python
