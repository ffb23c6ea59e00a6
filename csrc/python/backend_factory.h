// What modules of the package hand each other in capsules of these names: fastconv._cuda a function of the
// type MakeBackend, its attribute `make_backend`; fastconv._core the CPU's Backend, `cpu_backend`, for back
// ends that tests put on top of it.
#pragma once

#include <memory>

#include "core/backend.h"

namespace fastconv::python {

using MakeBackend = std::unique_ptr<Backend> (*)(int device, void* stream);
constexpr const char *kMakeBackend = "fastconv.make_backend", *kCpuBackend = "fastconv.cpu_backend";

}  // namespace fastconv::python
