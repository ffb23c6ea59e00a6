// Sums of every channel over batch and space: the gradient of a bias.
#pragma once

#include "core/tensor_view.h"

namespace fastconv::cpu {

// db[c] = sum over batch and space of dy[:, c]; db is contiguous, of dtype `result` (dy's, or a
// storage type of it). Any strides.
void channel_sums(const ImageView& dy, Dtype result, void* db);

}  // namespace fastconv::cpu
