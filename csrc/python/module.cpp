// The extension module fastconv._core.
#include "python/array.h"

PYBIND11_MODULE(_core, m) {
  m.doc() = "The compiled core of fastconv; the public functions are fastconv's own.";
  m.attr("__version__") = FASTCONV_VERSION;
  fastconv::python::bind_runtime(m);
  fastconv::python::bind_convolution(m);
  fastconv::python::bind_pool(m);
  fastconv::python::bind_elementwise(m);
}
