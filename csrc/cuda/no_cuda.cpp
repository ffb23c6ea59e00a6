// Stands where the CUDA back end is not built: says so, and how to get it.
#include <stdexcept>
#include <string>

#include "core/backend.h"

namespace fastconv::cuda {

bool available() { return false; }

void require(const char* argument) {
  throw std::invalid_argument(
      std::string(argument) +
      " lies on a CUDA device, but this build of fastconv has no CUDA back end; copy the array "
      "to the host first");
}

}  // namespace fastconv::cuda
