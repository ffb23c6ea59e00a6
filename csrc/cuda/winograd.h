// Winograd's F(2x2, 3x3) on tensor cores (kernels/winograd.h).
#pragma once

#include "cuda/tensor_cores.h"

namespace fastconv::cuda {

// The pixels of a gather of 3 x 3 taps times `lines` filters. Notes the operands' largest where `turn` will
// look. Images are taken a few at a time, so that their transformed patches and sums have at most so many
// bytes, but for one image's.
void winograd_images(const PixelGather& g, PaddingMode mode, const FilterLines& filters, std::int64_t lines,
                     const ResultStore& store, const TensorCores& cores, std::int32_t* largest_images,
                     std::int32_t* largest_filter, const Turn& turn, std::int64_t most_bytes, Stream stream);

}  // namespace fastconv::cuda
