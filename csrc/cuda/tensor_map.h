// How bulk copies (tensor_copy.h) find a tensor in global memory, and what part of it each brings: maps that
// the host makes and kernels get within their Arguments (PTX ISA, "Tensors"; CUDA driver API,
// cuTensorMapEncodeTiled and cuTensorMapEncodeIm2col).
//
// Axes are counted from the fastest: C, W, H, D, N for images.
#pragma once

#include <cstdint>

#ifdef FASTCONV_EMULATED
#include "cuda/emulation/tensor_map.h"
#else

namespace fastconv::cuda {

struct alignas(128) TensorMap {
  std::uint64_t opaque[16];
};

}  // namespace fastconv::cuda

#endif

namespace fastconv::cuda {

constexpr int kMostMapAxes = 5;

// rounded_to_tf32: of float32, to nearest, ties to even; the specification has no more than these words on
// it.
enum class MapElement { bits16, bits32, rounded_to_tf32 };

constexpr int size_of(MapElement e) { return e == MapElement::bits16 ? 2 : 4; }

// Both 16-byte aligned: the data, and each axis' distance in bytes but the first's, which is the element's
// size.
struct MappedTensor {
  const void* data = nullptr;
  MapElement element = MapElement::bits16;
  int axes = 2;                           // 2 to 5
  std::int64_t size[kMostMapAxes] = {};   // up to 2^32
  std::int64_t bytes[kMostMapAxes] = {};  // from one element to the next along an axis, below 2^40
};

// How 16-byte pieces lie in shared memory: as they come, or with the lowest three bits of a piece's number
// changed by those of the number of its 128 bytes (PTX ISA, "Swizzling Modes"). With the latter the first
// axis of what a copy brings is at most 128 bytes long, and here it must be that long.
enum class Swizzle { none, bytes128 };

// Copies bring `box` elements, at most 256 along an axis, from any place; zeros from outside.
TensorMap map_tiles(const MappedTensor& tensor, const int (&box)[kMostMapAxes], Swizzle swizzle);

// Copies bring `channels` of each of `pixels` pixels, which are visited in the order of images, each within
// the window
//     lower[i] <= x[i] <= size[i] - 1 + upper[i],    x[i] = lower[i], lower[i] + stride[i], ...
// of the axes i = W, H, D; then an offset is added to x, and zeros come from outside the tensor. For a
// convolution, lower = -padding before, upper = padding after - dilation (filter - 1), a pixel of the window
// is an output pixel, and offsets are tap * dilation.
struct Im2colWindow {
  int lower[3] = {}, upper[3] = {};  // 16, 8 or 5 bits each with 1, 2 or 3 of them
  int stride[3] = {1, 1, 1};         // at most 8
  int channels = 0, pixels = 0;      // at most 256 and 1024
};
TensorMap map_im2col(const MappedTensor& tensor, const Im2colWindow& window, Swizzle swizzle);

// Both throw std::runtime_error for what can't be mapped.

}  // namespace fastconv::cuda
