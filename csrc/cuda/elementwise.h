// Copies, gradients through activations, and sums over channels.
#pragma once

#include "core/backend.h"
#include "cuda/runtime.h"

namespace fastconv::cuda {

// These are Backend's functions, on a stream.
void copy(const StridedArray& from, const StridedArray& to, Stream stream);
void activation_gradient(Activation kind, Dtype dtype, const void* dy, const void* before_or_result, void* dz,
                         int64_t count, Stream stream);
void channel_sums(const ImageView& dy, Dtype result, void* db, Stream stream);

}  // namespace fastconv::cuda
