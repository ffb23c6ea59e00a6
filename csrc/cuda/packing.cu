#include "core/integers.h"
#include "cuda/launch.h"
#include "cuda/packing.h"

namespace fastconv::cuda {
namespace {

constexpr std::int64_t kElementBytes = 2;

bool is_packed(const ImageView& v, const ChannelPacking& packing, const Elements& elements) {
  if (v.dtype != elements.type || elements.parts > 1 || v.channel_stride != 1 || packing.taps > 1 ||
      packing.channels != packing.packed || reinterpret_cast<std::uintptr_t>(v.data) % sizeof(Piece) != 0) {
    return false;
  }
  std::int64_t dense = v.channels;
  for (int a = kAxes - 1; a >= 0; --a) {
    if (v.size[a] > 1 && v.stride[a] != dense) return false;
    dense *= v.size[a];
  }
  return v.batch <= 1 || v.batch_stride == dense;
}

PackedImage pack(const ImageView& image, const ConvProblem& padding, const PixelGather* folded,
                 std::int64_t groups, const Elements& elements, const LargestOf& largest, Stream stream) {
  PackedImage packed;
  packed.packing = channel_packing(image.channels / groups, folded);
  PackImageArguments a{};
  a.from = image;
  a.mode = padding.mode;
  const bool repeats = padding.mode != PaddingMode::zeros;
  const bool in_place = !repeats && is_packed(image, packed.packing, elements);
  std::int64_t stride = groups * packed.packing.packed;
  for (int axis = kAxes - 1; axis >= 0; --axis) {
    PackedAxis& along = a.axis[axis];
    along.size = image.size[axis];
    along.step = 1;
    packed.before[axis] = repeats ? padding.pad_before[axis] : 0;
    packed.size[axis] = image.size[axis] + packed.before[axis] + (repeats ? padding.pad_after[axis] : 0);
    along.offset = -packed.before[axis];
    if (axis == kAxes - 1 && packed.packing.taps > 1) {
      const AxisGather& of = folded->axis[axis];
      along.step = of.step;
      along.offset = of.taps[0].offset;
      along.tap_step = of.taps[1].offset - of.taps[0].offset;
      packed.size[axis] = of.positions;
      packed.before[axis] = 0;
    }
    along.positions = Divisor(packed.size[axis]);
    packed.stride[axis] = stride;
    stride *= packed.size[axis];
  }
  packed.batch_stride = stride;
  packed.part_step = image.batch * stride;
  if (in_place) {
    packed.data = static_cast<const std::uint16_t*>(image.data);
    return packed;
  }
  packed.memory = std::make_unique<StreamMemory>(elements.parts * packed.part_step * kElementBytes, stream);
  a.to = packed.memory->as<std::uint16_t>();
  packed.data = a.to;
  a.packing = packed.packing;
  a.split = {elements.type, elements.parts, packed.part_step};
  a.largest = largest.images;
  a.largest_of_each = largest.each;
  a.groups = groups;
  a.pixels = product(packed.size);
  a.pixel_tiles = ceil_div(a.pixels, PackImageKernel::kPixels);
  a.channel_tiles = ceil_div(packed.packing.packed, PackImageKernel::kChannels);
  a.channels_adjacent = channels_adjacent(image);
  launch<PackImageKernel>(stream, image.batch * a.pixel_tiles * groups * a.channel_tiles,
                          PackImageKernel::kSharedBytes, a);
  return packed;
}

}  // namespace

Elements product_elements(Dtype dtype, Precision precision) {
  if (dtype == Dtype::float16 || dtype == Dtype::bfloat16) return {dtype, 1};
  return {Dtype::bfloat16, precision == Precision::highest ? 3 : precision == Precision::high ? 2 : 1};
}

ChannelPacking channel_packing(std::int64_t channels, const PixelGather* gather) {
  const std::int64_t plain = round_up(channels, kPackedChannels);
  ChannelPacking packing = {channels, 1, plain, Divisor(channels)};
  if (!gather || channels >= kPackedChannels) return packing;
  const auto taps = static_cast<std::int64_t>(gather->axis[kAxes - 1].taps.size());
  const std::int64_t folded = round_up(channels * taps, kPackedChannels);
  if (taps > 1 && folded < plain * taps) {
    packing.taps = taps;
    packing.packed = folded;
  }
  return packing;
}

Gather PackedImage::gather(const PixelGather& g) const {
  Gather d = device_gather(g, PaddingMode::zeros);
  d.source.batch_stride = batch_stride;
  for (int a = 0; a < kAxes; ++a) {
    d.source.stride[a] = stride[a];
    d.axis[a].size = size[a];
    d.axis[a].offset += before[a];
  }
  if (packing.taps > 1) {
    GatherAxis& last = d.axis[kAxes - 1];
    last.step = 1;
    last.offset = last.tap_step = 0;
    last.taps = Divisor(1);
    d.taps /= packing.taps;
  }
  return d;
}

PackedImage pack_image(const ImageView& image, const ConvProblem& padding, std::int64_t groups,
                       const Elements& elements, const LargestOf& largest, Stream stream) {
  return pack(image, padding, nullptr, groups, elements, largest, stream);
}

PackedImage pack_gathered(const PixelGather& g, const ConvProblem& padding, const Elements& elements,
                          const LargestOf& largest, Stream stream) {
  return pack(g.source, padding, &g, padding.groups, elements, largest, stream);
}

PackedFilters allocate_filters(std::int64_t groups, std::int64_t lines, std::int64_t terms,
                               const Elements& elements, Stream stream) {
  PackedFilters packed;
  packed.part_step = groups * lines * terms;
  const std::int64_t all = elements.parts * packed.part_step + kLinesBeyond * terms;
  packed.memory = std::make_unique<StreamMemory>(all * kElementBytes, stream);
  return packed;
}

PackedFilters pack_filters(const FilterLines& from, std::int64_t groups, std::int64_t lines,
                           const PixelGather& g, const ChannelPacking& packing, const Elements& elements,
                           std::int32_t* largest, Stream stream) {
  PackFiltersKernel::Arguments a{};
  a.gather = device_gather(g, PaddingMode::zeros);
  a.from = from;
  a.packing = packing;
  a.groups = groups;
  a.by_packed = Divisor(packing.packed);
  a.by_taps = Divisor(a.gather.taps / packing.taps);
  a.by_lines = Divisor(lines);
  PackedFilters packed = allocate_filters(groups, lines, a.by_taps.value * packing.packed, elements, stream);
  const std::int64_t count = packed.part_step;
  a.to = packed.memory->as<std::uint16_t>();
  a.split = {elements.type, elements.parts, count};
  a.largest = largest;
  launch<PackFiltersKernel>(stream, span_blocks(count), 0, a);
  return packed;
}

}  // namespace fastconv::cuda
