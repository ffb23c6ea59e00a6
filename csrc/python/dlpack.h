// Arrays of other libraries, taken over through DLPack without a copy.
//
// DLPack (https://dmlc.github.io/dlpack/latest/, "C API" and "Python Specification", versions 0 and 1): a
// producer's __dlpack__() gives a capsule "dltensor" or, from version 1 on, "dltensor_versioned". The
// consumer renames it to "used_...", keeps what it holds for as long as it needs the memory, and then calls
// its deleter. NumPy's own from_dlpack knows no bfloat16.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>

namespace fastconv::python {

// Kinds of device, as __dlpack_device__() tells them.
enum DlpackKind : int { kDlpackCpu = 1, kDlpackCuda = 2, kDlpackCudaManaged = 13 };

// Of the specification's C API.
struct DLTensor {
  void* data;
  std::int32_t device_type, device_id;
  std::int32_t ndim;
  std::uint8_t code, bits;
  std::uint16_t lanes;
  std::int64_t *shape, *strides;  // in elements; strides may be null, for C order
  std::uint64_t byte_offset;
};

// What a producer handed over, for as long as `owner` lives. Producers before version 1 can't say whether it
// may be written to.
struct DlpackMemory {
  const DLTensor* tensor;
  pybind11::capsule owner;
  enum { unknown, writable, read_only } access;
};

// All throw TypeError where something can't be had, beginning with `where` (function and argument) and
// holding the producer's own words.

struct DlpackDevice {
  int kind, number;
};
DlpackDevice dlpack_device(const pybind11::object& producer, const std::string& where);

// `keywords` are those of __dlpack__, but for max_version.
DlpackMemory take_dlpack(const pybind11::object& producer, const std::string& where,
                         const pybind11::dict& keywords);

// NumPy's name of the type of the elements.
std::string dlpack_dtype(const DLTensor& tensor, const std::string& where);

// The memory of an object on the host as a NumPy array: read-only where the producer says so, or can't say.
pybind11::array from_dlpack(const pybind11::object& producer, const std::string& where);

}  // namespace fastconv::python
