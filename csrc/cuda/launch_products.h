// Launches products of tensor cores, in as many parts as the problem asks for.
#pragma once

#include "cuda/kernels/tensor_core_filters.h"
#include "cuda/kernels/tensor_core_images.h"
#include "cuda/launch.h"
#include "cuda/parts.h"

namespace fastconv::cuda {

// The kernel's tiles have kTensorRows x kColumns elements; its steps and the pieces of its reduction have
// kDepth and at most kPiece terms.
template <class Kernel>
void launch_images(typename Kernel::Arguments* arguments, std::int64_t images, Stream stream) {
  typename Kernel::Arguments& a = *arguments;
  a.pieces = a.gather.taps * ceil_div(a.channels, Kernel::kPiece);
  a.row_tiles = ceil_div(a.gather.pixels, kTensorRows);
  a.column_tiles = ceil_div(a.lines, Kernel::kColumns);
  // An image's sums are made the same way in every batch.
  const std::int64_t image_tiles = ceil_div(ceil_div(a.gather.pixels, images), kTensorRows);
  const Parts cuts = cut(a.pieces * Kernel::kPiece, a.groups * image_tiles * a.column_tiles,
                         kWantedImageBlocks, Kernel::kDepth);
  a.parts = cuts.count;
  a.pieces_of_part = cuts.length / Kernel::kPiece;
  const std::int64_t blocks = a.groups * a.row_tiles * a.column_tiles * a.parts;
  if (a.parts == 1) return launch<Kernel>(stream, blocks, Kernel::kSharedBytes, a);
  const std::int64_t sums = a.groups * a.lines * a.gather.pixels;
  const StreamMemory partial(a.parts * sums * static_cast<std::int64_t>(sizeof(float)), stream);
  a.partial_sums = partial.as<float>();
  launch<Kernel>(stream, blocks, Kernel::kSharedBytes, a);
  launch<ImagePartsKernel<float, TensorCoreImagesArguments> >(stream, span_blocks(sums), 0, a);
}

// column_tiles are the kernel's own.
template <class Kernel>
void launch_filters(typename Kernel::Arguments* arguments, Stream stream) {
  typename Kernel::Arguments& a = *arguments;
  a.row_tiles = ceil_div(a.filters, kTensorRows);
  const std::int64_t tiles = a.groups * a.row_tiles * a.column_tiles;
  const Parts cuts = cut(a.gather.pixels, tiles, kWantedFilterBlocks, Kernel::kDepth);
  a.parts = cuts.count;
  a.pixels_of_part = cuts.length;
  if (a.parts == 1) return launch<Kernel>(stream, tiles, Kernel::kSharedBytes, a);
  const std::int64_t sums = a.groups * a.filters * a.columns;
  const StreamMemory partial(a.parts * sums * static_cast<std::int64_t>(sizeof(float)), stream);
  a.partial_sums = partial.as<float>();
  launch<Kernel>(stream, tiles * a.parts, Kernel::kSharedBytes, a);
  launch<TensorCoreFilterPartsKernel>(stream, span_blocks(sums), 0, a);
}

}  // namespace fastconv::cuda
