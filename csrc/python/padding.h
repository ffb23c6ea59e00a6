// The argument `padding` of convolutions and pools.
#pragma once

#include "core/padding.h"
#include "python/array.h"

namespace fastconv::python {

// An int; for each of `rank` spatial axes an int or a (before, after) pair; or "valid", "same", "full", and
// in 1-D "causal". Numbers land in the last `rank` axes. Negative ones, other words and other lengths are a
// ValueError; in 1-D a bare (a, b) is one that says how to write the pair.
PaddingSpec read_padding(const char* function, const py::object& value, int rank);

}  // namespace fastconv::python
