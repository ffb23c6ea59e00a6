// The device's convolutions: core/conv_as_gemm.h's gathers, multiplied by one of three routes.
#pragma once

#include "core/backend.h"
#include "cuda/runtime.h"

namespace fastconv::cuda {

// Backend::conv_route, on a stream.
std::unique_ptr<ConvRoute> conv_route(const std::string& function, const ConvProblem& problem,
                                      Direction direction, Dtype dtype, Precision precision,
                                      const std::string& algorithm, int capability, Stream stream);

}  // namespace fastconv::cuda
