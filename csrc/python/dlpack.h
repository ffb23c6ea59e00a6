// Arrays of other libraries, taken over through DLPack without a copy.
//
// DLPack (https://dmlc.github.io/dlpack/latest/, "C API" and "Python Specification", versions 0 and 1): a
// producer's __dlpack__() gives a capsule "dltensor" or, from version 1 on, "dltensor_versioned". The
// consumer renames it to "used_...", keeps what it holds for as long as it needs the memory, and then calls
// its deleter. NumPy's own from_dlpack knows no bfloat16.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>

namespace fastconv::python {

// The memory of an object that has __dlpack__, as a NumPy array: read-only where the producer says so, and
// where an old one can't say. Throws TypeError where it can't be had, beginning with `where` (function and
// argument) and holding the producer's own words.
pybind11::array from_dlpack(const pybind11::object& producer, const std::string& where);

}  // namespace fastconv::python
