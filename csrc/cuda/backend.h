// The CUDA back end: what the module fastconv._cuda hands to the core.
#pragma once

#include <memory>
#include <string>

#include "core/backend.h"

namespace fastconv::cuda {

// Works on one stream of one device; std::runtime_error where there is no such device.
std::unique_ptr<Backend> make_backend(int device, void* stream);

// One line for `info`: what it was built for.
std::string description();

}  // namespace fastconv::cuda
