// Copies of arrays of any rank and strides.
#pragma once

#include "core/backend.h"

namespace fastconv::cpu {

// to = from, of one shape and item size; they share no memory.
void strided_copy(const StridedArray& from, const StridedArray& to);

}  // namespace fastconv::cpu
