// The twin of tensor_map.cu, with the rules that the driver's documentation states.
#include "cuda/tensor_map.h"

#include <stdexcept>
#include <string>

namespace fastconv::cuda {
namespace {

constexpr std::int64_t kAlignment = 16, kSwizzleBytes = 128;

void require(bool condition, const char* rule) {
  if (!condition) throw std::runtime_error(std::string("a tensor map: ") + rule);
}

TensorMap map_tensor(const MappedTensor& t, int first_count, Swizzle swizzle) {
  TensorMap map{};
  require(reinterpret_cast<std::uintptr_t>(t.data) % kAlignment == 0, "data is aligned to 16 bytes");
  for (int i = 0; i < t.axes; ++i) {
    require(t.size[i] > 0 && t.size[i] <= std::int64_t{1} << 32, "sizes lie between 1 and 2^32");
    map.size[i] = static_cast<std::uint32_t>(t.size[i] - 1);
    map.bytes[i] = i == 0 ? size_of(t.element) : t.bytes[i];
    if (i == 0) continue;
    require(t.bytes[i] >= 0 && t.bytes[i] < std::int64_t{1} << 40, "distances lie below 2^40 bytes");
    require(t.bytes[i] % kAlignment == 0, "distances are multiples of 16 bytes");
  }
  const std::int64_t line = static_cast<std::int64_t>(first_count) * size_of(t.element);
  require(first_count > 0 && first_count <= 256, "a copy takes 1 to 256 elements of the first axis");
  require(line % kAlignment == 0, "a copy takes a multiple of 16 bytes of the first axis");
  require(swizzle == Swizzle::none || line == kSwizzleBytes,
          "a swizzled copy takes 128 bytes of the first axis");
  map.data = static_cast<const unsigned char*>(t.data);
  map.axes = static_cast<std::uint8_t>(t.axes);
  map.element_bytes = static_cast<std::uint8_t>(size_of(t.element));
  map.swizzled = swizzle == Swizzle::bytes128;
  map.rounds_to_tf32 = t.element == MapElement::rounded_to_tf32;
  return map;
}

}  // namespace

TensorMap map_tiles(const MappedTensor& t, const int (&box)[kMostMapAxes], Swizzle swizzle) {
  require(t.axes >= 1 && t.axes <= kMostMapAxes, "it has 1 to 5 axes");
  TensorMap map = map_tensor(t, box[0], swizzle);
  for (int i = 0; i < t.axes; ++i) {
    require(box[i] > 0 && box[i] <= 256, "a copy takes 1 to 256 elements of each axis");
    map.box[i] = static_cast<std::uint16_t>(box[i]);
  }
  return map;
}

TensorMap map_im2col(const MappedTensor& t, const Im2colWindow& w, Swizzle swizzle) {
  require(t.axes >= 3 && t.axes <= kMostMapAxes, "im2col has 3 to 5 axes");
  require(w.pixels > 0 && w.pixels <= 1024, "a copy takes 1 to 1024 pixels");
  const int corner_limit = t.axes == 3 ? 1 << 15 : t.axes == 4 ? 1 << 7 : 1 << 4;
  TensorMap map = map_tensor(t, w.channels, swizzle);
  map.im2col = true;
  map.box[0] = static_cast<std::uint16_t>(w.channels);
  map.box[1] = static_cast<std::uint16_t>(w.pixels);
  for (int i = 0; i < t.axes - 2; ++i) {
    for (const int corner : {w.lower[i], w.upper[i]})
      require(corner >= -corner_limit && corner < corner_limit, "a corner lies too far away");
    require(w.lower[i] <= t.size[i + 1] - 1 + w.upper[i], "the window is empty");
    require(w.stride[i] > 0 && w.stride[i] <= 8, "strides lie between 1 and 8");
    map.lower[i] = static_cast<std::int16_t>(w.lower[i]);
    map.upper[i] = static_cast<std::int16_t>(w.upper[i]);
    map.stride[i] = static_cast<std::uint8_t>(w.stride[i]);
  }
  return map;
}

}  // namespace fastconv::cuda
