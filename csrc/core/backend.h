// The back ends beside the CPU's: whether they were built, and the error where they were not.
#pragma once

namespace fastconv::cuda {

bool available();

// Throws std::invalid_argument naming the argument where arrays on a CUDA device can't be served.
void require(const char* argument);

}  // namespace fastconv::cuda
