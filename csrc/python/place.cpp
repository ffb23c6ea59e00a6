#include "python/place.h"

#include <pybind11/numpy.h>

#include "cpu/backend.h"
#include "python/backend_factory.h"
#include "python/device_memory.h"

namespace fastconv::python {
namespace {

MakeBackend cuda_factory = nullptr;  // once a module is loaded; guarded by the GIL

MakeBackend factory_of(const py::object& module) {
  void* make = PyCapsule_GetPointer(module.attr("make_backend").ptr(), kMakeBackend);
  if (!make) throw py::error_already_set();
  return reinterpret_cast<MakeBackend>(make);
}

std::string place_text(int device) {
  if (device == kHost) return "the host";
  return device == kSomeDevice ? "a CUDA device" : "CUDA device " + std::to_string(device);
}

MakeBackend load_cuda_factory(const std::string& where, int device) {
  if (cuda_factory) return cuda_factory;
  try {
    cuda_factory = factory_of(py::module_::import("fastconv._cuda"));
  } catch (py::error_already_set& e) {
    if (!e.matches(PyExc_ModuleNotFoundError)) throw;
    throw py::value_error(
        where + " lies on " + place_text(device) +
        ", but this installation of fastconv has no CUDA back end; copy the array to the host, or reinstall "
        "from source where a CUDA toolkit (nvcc) of version 12 or later is found: pip install -C "
        "cmake.define.FASTCONV_CUDA=ON .");
  }
  return cuda_factory;
}

// The device of an argument that is no NumPy array; such of no protocol count as the host's.
int device_of_argument(const py::object& object, const char* function, const char* name) {
  if (py::isinstance<py::array>(object)) return kHost;
  return device_of(object, std::string(function) + ": " + name);
}

}  // namespace

void use_cuda_module(const py::object& module) {
  cuda_factory = module.is_none() ? nullptr : factory_of(module);
}

Place::Place() : backend_(&cpu::backend()) {}

const Place& Place::host() {
  static const Place& place = *new Place;  // never destroyed, for it might outlive the interpreter
  return place;
}

Place::Place(const py::object& first, const char* function, const char* name) : Place() {
  first_ = name;
  device_ = device_of_argument(first, function, name);
  if (device_ == kHost) return;
  const std::string where = std::string(function) + ": " + name;
  const MakeBackend make = load_cuda_factory(where, device_);
  library_ = library_of(first, where);
  if (device_ == kSomeDevice) device_ = py::cast<int>(library_.attr("device_of")(first));
  stream_ = py::cast<std::uintptr_t>(library_.attr("current_stream")(device_));
  own_backend_ = make(device_, reinterpret_cast<void*>(stream_));
  backend_ = own_backend_.get();
}

std::string Place::text() const { return place_text(device_); }

void Place::require(const py::object& object, const char* function, const char* name) const {
  int device = device_of_argument(object, function, name);
  if (device == device_) return;
  const std::string where = std::string(function) + ": " + name;
  if (!first_) {
    throw py::value_error(where + " lies on " + place_text(device) +
                          ", but this is computed on the CPU alone; copy the array to the host first");
  }
  if (device == kSomeDevice && !on_host()) {
    device = py::cast<int>(library_of(object, where).attr("device_of")(object));
    if (device == device_) return;
  }
  throw py::value_error(where + " lies on " + place_text(device) + ", but " + first_ + " lies on " + text() +
                        "; all arrays of one call lie on one device");
}

void Place::wait_for(std::uintptr_t other, const std::string& where) const {
  const auto named = [](std::uintptr_t stream) { return stream ? stream : 1; };  // 0 and 1 are the same one
  if (named(other) == named(stream_)) return;
  const auto backend = cuda_factory(device_, reinterpret_cast<void*>(other));
  const py::gil_scoped_release release;
  backend->wait(where);
}

py::object Place::empty(const Shape& shape, const char* dtype) const {
  return library_.attr("empty")(py::tuple(py::cast(shape)), dtype, device_);
}

}  // namespace fastconv::python
