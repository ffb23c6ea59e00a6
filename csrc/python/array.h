// Python arguments in, Python results out: arrays (NumPy, DLPack), sizes, words. Every message names the
// function, the argument, what was got and what was expected.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "core/buffer_pool.h"
#include "core/dtype.h"
#include "core/tensor_view.h"

namespace fastconv::python {

namespace py = pybind11;
using Shape = std::vector<std::int64_t>;

// NumPy arrays as they are, but for masked ones; other objects through DLPack, without a copy. TypeError
// else.
py::array as_numpy(const py::object& object, const char* function, const char* name);

// An input array, whose names must outlive it: held alive, natively ordered, aligned, with strides that are
// whole elements (else copied).
class Array {
 public:
  Array(const py::object& object, const char* function, const char* name);

  Dtype dtype() const { return dtype_; }
  py::dtype numpy_dtype() const { return array_.dtype(); }
  int ndim() const { return static_cast<int>(array_.ndim()); }
  std::int64_t size(int axis) const { return array_.shape(axis); }
  std::int64_t stride(int axis) const { return array_.strides(axis) / size_of(dtype_); }
  Shape shape() const { return Shape(array_.shape(), array_.shape() + array_.ndim()); }
  std::int64_t elements() const { return array_.size(); }
  void* data() const { return const_cast<void*>(array_.data()); }
  const char* name() const { return name_; }
  bool c_contiguous() const { return array_.flags() & py::array::c_style; }
  // The same values, C-contiguous: itself, or a copy.
  Array contiguous() const;
  const py::array& object() const { return array_; }

 private:
  py::array array_;
  Dtype dtype_;
  const char *function_, *name_;
};

// A MemoryError in Python, with words of its own.
class OutOfMemory : public std::bad_alloc {
 public:
  explicit OutOfMemory(std::string text) : text_(std::move(text)) {}
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  std::string text_;
};

// Runs the work of a call while other Python threads run.
template <class Name, class Work>
void without_gil(const Name& function, const Work& work) {
  const py::gil_scoped_release release;
  try {
    work();
  } catch (const std::bad_alloc&) {
    throw OutOfMemory(std::string(function) + ": could not get the memory for its workspace");
  }
}

// A new C-contiguous array; large ones live in the buffer pool.
py::array new_array(const std::string& function, const Shape& shape, const py::dtype& dtype);

// Checks an array that is written to: a NumPy array of the given type and shape, writable, without a mask,
// whose elements have each their own memory.
py::array read_out(const py::object& out, const Shape& shape, Dtype type, const char* function);

// Where a result is written: a new array, or the caller's `out` (checked by read_out). An `out` that is not
// C-contiguous or shares memory with an input is filled through a temporary: finish() copies it over.
class Result {
 public:
  Result(const py::object& out, const Shape& shape, const py::dtype& dtype, Dtype type, const char* function,
         std::initializer_list<const Array*> inputs);
  void* data() { return target_.mutable_data(); }
  Dtype dtype() const { return dtype_; }
  py::object finish();

 private:
  py::array target_;
  py::object out_;  // None, or the array to copy into / return
  bool copy_back_ = false;
  Dtype dtype_;
};

// All arrays of a call share one dtype: throws TypeError naming both.
void require_same_dtype(const char* function, const Array& a, const Array& b);

std::string shape_text(const Shape& shape);

// data_format: true for "channels_last".
bool read_channels_last(const std::string& function, const py::object& value);

// Whether a value has several entries: arrays of no axis and strings have not.
bool is_sequence(const py::handle& value);

bool read_flag(const std::string& function, const char* name, const py::object& value);

// An int, or a sequence of `rank` ints, into the last `rank` of three axes; the others get `fill`. Values
// below `least` are a ValueError.
void read_axes(const char* function, const char* name, const py::object& value, int rank, std::int64_t least,
               std::int64_t fill, std::int64_t (&axes)[kAxes]);

// Anything with __index__ but bools: ints, NumPy's integers, integer arrays of no axis.
std::int64_t read_int(const char* function, const char* name, const py::handle& value);
// The same, at least `least`.
std::int64_t read_size(const char* function, const char* name, const py::handle& value, std::int64_t least);
Shape read_shape(const char* function, const char* name, const py::object& value);

// (N, C, *spatial) or (N, *spatial, C) with or without N, as a view. `batched` says whether N was there.
ImageView image_view(const Array& a, const char* function, int rank, bool channels_last, bool* batched);
// The same for a C-contiguous result of the given sizes.
ImageView contiguous_image(void* data, Dtype dtype, std::int64_t batch, std::int64_t channels,
                           const std::int64_t (&size)[kAxes], bool channels_last);
// Its shape as Python sees it.
Shape image_shape(std::int64_t batch, std::int64_t channels, const std::int64_t (&size)[kAxes], int rank,
                  bool channels_last, bool batched);

void bind_runtime(py::module_& m);
void bind_convolution(py::module_& m);
void bind_pool(py::module_& m);
void bind_elementwise(py::module_& m);

}  // namespace fastconv::python
