// Arrays of other libraries on CUDA devices: through DLPack, or else the CUDA array interface, versions 2 and
// 3 (https://numba.readthedocs.io/en/stable/cuda/cuda_array_interface.html).
#pragma once

#include <string>

#include "python/place.h"

namespace fastconv::python {

// kHost for what speaks neither; ValueError for devices that are not CUDA's. `where`: function and argument.
int device_of(const py::object& object, const std::string& where);

// What fastconv._device_arrays knows of the library that an array on a device belongs to. TypeError if
// nothing.
py::object library_of(const py::object& object, const std::string& where);

// An array's memory, ready for work on the place's stream, for as long as `owner` lives.
struct DeviceMemory {
  StridedArray array;
  std::string dtype;  // NumPy's name of it
  bool read_only;
  py::object owner;
};
DeviceMemory device_memory(const py::object& object, const Place& place, const std::string& where);

}  // namespace fastconv::python
