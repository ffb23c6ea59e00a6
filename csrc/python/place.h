// Where the arrays of a call lie: on the host or on a CUDA device. It decides what computes the call, on
// which stream, and who makes its results.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/backend.h"

namespace fastconv::python {

namespace py = pybind11;
using Shape = std::vector<std::int64_t>;

// A CUDA device's number, or one of these.
constexpr int kHost = -1, kSomeDevice = -2;  // the array can't tell which one

class Place {
 public:
  // For what is computed on the CPU alone.
  static const Place& host();
  // Where the first array of a call lies, whose name must outlive it. ValueError where there is no back end
  // for it, TypeError where no results can be made in its library.
  Place(const py::object& first, const char* function, const char* name);

  bool on_host() const { return device_ == kHost; }
  Backend& backend() const { return *backend_; }
  std::string text() const;

  // ValueError unless an argument lies here.
  void require(const py::object& object, const char* function, const char* name) const;

  // For devices. The handle of the stream that work is queued on; what another one has queued is waited for.
  std::uintptr_t stream() const { return stream_; }
  void wait_for(std::uintptr_t other, const std::string& where) const;
  // A new C-contiguous array of the first array's library.
  py::object empty(const Shape& shape, const char* dtype) const;

 private:
  Place();

  int device_ = kHost;
  const char* first_ = nullptr;
  py::object library_;
  std::uintptr_t stream_ = 0;
  std::unique_ptr<Backend> own_backend_;
  Backend* backend_;
};

// Takes back ends from a module other than fastconv._cuda; None takes that back. For tests.
void use_cuda_module(const py::object& module);

}  // namespace fastconv::python
