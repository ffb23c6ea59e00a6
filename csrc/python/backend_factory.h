// How a back end's module (fastconv._cuda) hands it to fastconv._core: its attribute `make_backend` is a
// capsule of this name, around a function of this type.
#pragma once

#include <memory>

#include "core/backend.h"

namespace fastconv::python {

using MakeBackend = std::unique_ptr<Backend> (*)(int device, void* stream);
constexpr const char* kMakeBackend = "fastconv.make_backend";

}  // namespace fastconv::python
