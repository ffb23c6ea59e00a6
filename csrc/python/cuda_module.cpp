// The extension module fastconv._cuda, which the core loads at the first array on a CUDA device.
#include <pybind11/pybind11.h>

#include "cuda/backend.h"
#include "python/backend_factory.h"

#ifndef FASTCONV_CUDA_MODULE  // tests build it under other names
#define FASTCONV_CUDA_MODULE _cuda
#endif

PYBIND11_MODULE(FASTCONV_CUDA_MODULE, m) {
  using namespace fastconv;
  const python::MakeBackend make = &cuda::make_backend;
  m.attr("make_backend") = pybind11::capsule(reinterpret_cast<void*>(make), python::kMakeBackend);
  m.def("description", &cuda::description);
}
