#include "python/array.h"

namespace fastconv::python {
void bind_pool(py::module_&) {}
}  // namespace fastconv::python
