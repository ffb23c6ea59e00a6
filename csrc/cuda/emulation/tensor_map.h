// The twin of tensor_map.h's map: what the host asked for, as it stands.
#pragma once

#include <cstdint>

namespace fastconv::cuda {

struct alignas(128) TensorMap {
  const unsigned char* data;
  std::int64_t bytes[5];
  std::uint32_t size[5];  // less one
  std::int16_t lower[3], upper[3];
  std::uint16_t box[5];  // or channels and pixels
  std::uint8_t stride[3];
  std::uint8_t axes, element_bytes;
  bool im2col, swizzled, rounds_to_tf32;
};
static_assert(sizeof(TensorMap) == 128);

}  // namespace fastconv::cuda
