// Results on their way out to Python: new arrays of the caller's library, or the caller's `out`.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>

#include "python/array.h"

namespace fastconv::python {

// A new C-contiguous NumPy array; large ones live in the buffer pool.
py::array new_array(const std::string& function, const Shape& shape, const py::dtype& dtype);

// A new C-contiguous array where another one lies, and in the library that results are made in there.
struct NewArray {
  py::object object;
  void* data;
};
NewArray new_like(const Array& like, const Shape& shape);     // of its dtype
NewArray new_indices(const Array& like, const Shape& shape);  // of int64

// Checks an array that is written to: of the given type and shape, writable, without a mask, whose elements
// have each their own memory; on the host a NumPy array.
Memory read_out(const py::object& out, const Place& place, const Shape& shape, Dtype type,
                const char* function);

// Where a result is written: a new array, or the caller's `out` (checked by read_out), of the dtype of `like`
// and where it lies. An `out` that is not C-contiguous or shares memory with an input is filled through a
// temporary: finish() copies it over.
class Result {
 public:
  Result(const py::object& out, const Shape& shape, const Array& like,
         std::initializer_list<const Array*> inputs);
  void* data() const { return target_.data; }
  py::object finish();

 private:
  NewArray target_;            // what is written
  std::optional<Memory> out_;  // what that is copied to
  py::object given_;
};

}  // namespace fastconv::python
