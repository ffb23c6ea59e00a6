// Sums of every channel over batch and space: the gradient of a bias.
#pragma once

#include "core/tensor_view.h"

namespace fastconv::cpu {

// db[c] = sum over batch and space of dy[:, c]; db is contiguous and of dy's dtype. Any strides.
void channel_sums(const ImageView& dy, void* db);

}  // namespace fastconv::cpu
