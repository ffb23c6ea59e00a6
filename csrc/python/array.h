// Python arguments in: arrays (NumPy, DLPack, CUDA array interface), sizes, words. Every message names the
// function, the argument, what was got and what was expected.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <utility>

#include "core/dtype.h"
#include "core/tensor_view.h"
#include "python/place.h"

namespace fastconv::python {

// NumPy arrays as they are, but for masked ones; other objects on the host through DLPack, without a copy.
// TypeError else.
py::array as_numpy(const py::object& object, const char* function, const char* name);

// The elements of memory that somebody hands over: those of Dtype, and what else is told apart.
enum class Element : int { float32, float64, float16, bfloat16, int64, other };

// The memory of an argument, held alive, where a call's arrays lie. The names and the place must outlive it.
class Memory {
 public:
  Memory(const py::object& object, const Place& place, const char* function, const char* name);

  Element element() const { return element_; }
  std::string dtype_text() const;
  int ndim() const { return view_.ndim; }
  std::int64_t size(int axis) const { return view_.shape[axis]; }
  Shape shape() const { return Shape(view_.shape, view_.shape + view_.ndim); }
  std::int64_t elements() const;
  void* data() const { return view_.data; }
  const Place& place() const { return *place_; }
  const char* function() const { return function_; }
  const char* name() const { return name_; }
  std::string where() const { return std::string(function_) + ": " + name_; }

  // Natively ordered and aligned, with strides that are whole elements; else these strides mean nothing.
  bool regular() const { return regular_; }
  std::int64_t stride(int axis) const { return view_.stride[axis]; }
  const StridedArray& view() const { return view_; }
  bool c_contiguous() const;
  Shape strides_in_bytes() const;
  bool writable() const;

  // Take a copy where it is not so yet.
  void make_regular();
  void make_contiguous();  // of regular memory

  // The NumPy array that it was read from, on the host.
  const py::array& numpy() const { return static_cast<const py::array&>(owner_); }

 private:
  void read_numpy();

  StridedArray view_;
  Element element_;
  bool regular_ = true, writable_ = true;
  const Place* place_;
  const char *function_, *name_;
  py::object owner_;            // on the host a NumPy array
  std::string dtype_name_;      // on a device
  std::shared_ptr<void> copy_;  // what make_contiguous() took
};

// An input of floating elements, regular.
class Array : public Memory {
 public:
  Array(const py::object& object, const Place& place, const char* function, const char* name);
  // For what is computed on the CPU alone.
  Array(const py::object& object, const char* function, const char* name)
      : Array(object, Place::host(), function, name) {}

  Dtype dtype() const { return static_cast<Dtype>(element()); }
  py::dtype numpy_dtype() const { return numpy().dtype(); }
  // The same values, C-contiguous: itself, or a copy.
  Array contiguous() const;
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
