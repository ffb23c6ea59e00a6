// What the elementwise, normalisation, loss and optimiser functions ask of their arguments.
#pragma once

#include "python/array.h"

namespace fastconv::python {

// An input of the dtype and shape of another, C-contiguous.
Array read_like(const py::object& object, const char* function, const char* name, const Array& like);

// An array that is written in place: C-contiguous, native, aligned, writable.
Array read_in_place(const py::object& object, const char* function, const char* name);

double read_number(const char* function, const char* name, const py::object& value);

void bind_normalisation(py::module_& m);
void bind_losses(py::module_& m);
void bind_optimisers(py::module_& m);

}  // namespace fastconv::python
