// Operands of tensor cores (kernels/packing.h) in a stream's memory, or where they lie already.
#pragma once

#include <memory>

#include "core/product_kind.h"
#include "cuda/kernels/packing.h"
#include "cuda/runtime.h"

namespace fastconv::cuda {

// What elements a product has and how many parts a number.
struct Elements {
  Dtype type;
  int parts;
};
Elements product_elements(Dtype dtype, Precision precision);

// The channels of a gather's source, with its last taps among them where that makes the reduction shorter.
ChannelPacking channel_packing(std::int64_t channels, const PixelGather* gather);

struct PackedImage {
  const std::uint16_t* data;
  ChannelPacking packing;
  std::int64_t part_step;
  std::int64_t size[kAxes], before[kAxes];  // before: of these, padding
  std::int64_t batch_stride, stride[kAxes];
  std::unique_ptr<StreamMemory> memory;

  // A gather from the image that this was packed from, from this.
  Gather gather(const PixelGather& g) const;
};

// Where packing notes the largest magnitudes, beginning at zeros: of each image, of all, or (null) not.
struct LargestOf {
  std::int32_t* images = nullptr;
  bool each = false;
};

// Packs an image, with its padding where that repeats elements. What is packed for tensor cores already stays
// where it is.
PackedImage pack_image(const ImageView& image, const ConvProblem& padding, std::int64_t groups,
                       const Elements& elements, const LargestOf& largest, Stream stream);
// The same for one gather alone, whose last taps may become channels.
PackedImage pack_gathered(const PixelGather& g, const ConvProblem& padding, const Elements& elements,
                          const LargestOf& largest, Stream stream);

struct PackedFilters {
  std::unique_ptr<StreamMemory> memory;
  std::int64_t part_step;
};
// Room for a product's filters: [part][group][line][term], and for the lines beyond.
PackedFilters allocate_filters(std::int64_t groups, std::int64_t lines, std::int64_t terms,
                               const Elements& elements, Stream stream);
PackedFilters pack_filters(const FilterLines& from, std::int64_t groups, std::int64_t lines,
                           const PixelGather& g, const ChannelPacking& packing, const Elements& elements,
                           std::int32_t* largest, Stream stream);

}  // namespace fastconv::cuda
