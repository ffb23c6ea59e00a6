// What im2col maps (tensor_map.h) can show of a gather from a packed image.
#pragma once

#include "core/integers.h"
#include "cuda/kernels/im2col.h"

namespace fastconv::cuda {

bool fits_im2col(const Gather& g);

// Copies bring so many channels of a pixel, in the 128 bytes of a swizzled row.
constexpr int kBoxChannels = 64;
// Where more than a third of what is multiplied would be zeros, there are faster ways.
inline bool fills_boxes(std::int64_t channels) {
  const std::int64_t multiplied = round_up(channels, kBoxChannels);
  return 3 * (multiplied - channels) <= multiplied;
}

// For a gather that fits: copies bring kBoxChannels channels of `pixels` pixels. The image has
// `channels` in all, of each of its parts, which lie part_step elements apart.
Im2colGather im2col_gather(const Gather& g, const std::uint16_t* image, std::int64_t part_step, int parts,
                           std::int64_t channels, int pixels);

}  // namespace fastconv::cuda
