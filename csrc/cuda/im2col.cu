#include <algorithm>
#include <limits>

#include "cuda/im2col.h"

namespace fastconv::cuda {
namespace {

constexpr std::int64_t kElementBytes = 2, kFarthest = std::int64_t{1} << 40, kLongestStride = 8;

// An axis as a map has it: positions lie in a window that begins with the tap that reads first.
struct Window {
  std::int64_t lower, upper, step, reach;  // reach: from the first tap to the last
};

Window window_of(const GatherAxis& axis) {
  const std::int64_t steps = (axis.taps.value - 1) * axis.tap_step;
  Window w;
  w.lower = axis.offset + std::min<std::int64_t>(steps, 0);
  w.step = axis.positions.value > 1 ? axis.step : 1;
  w.upper = w.lower + (axis.positions.value - 1) * w.step - (axis.size - 1);
  w.reach = std::abs(steps);
  return w;
}

// The axes but for the outermost ones that have one element and are read there alone.
int spatial_axes(const Gather& g) {
  int outer = 0;
  for (; outer < kAxes - 1; ++outer) {
    const GatherAxis& axis = g.axis[outer];
    if (axis.size > 1 || axis.positions.value > 1 || axis.taps.value > 1 || axis.offset != 0) break;
  }
  return kAxes - outer;
}

}  // namespace

bool fits_im2col(const Gather& g) {
  if (g.taps == 0 || g.pixels == 0 || g.pixels > std::numeric_limits<int>::max()) return false;
  if (g.source.batch_stride * kElementBytes >= kFarthest) return false;
  const int spatial = spatial_axes(g);
  const std::int64_t corner_limit = spatial == 1 ? 1 << 15 : spatial == 2 ? 1 << 7 : 1 << 4;
  const auto is_corner = [=](std::int64_t c) { return c >= -corner_limit && c < corner_limit; };
  for (int i = 0; i < spatial; ++i) {
    const Window w = window_of(g.axis[kAxes - 1 - i]);
    if (!is_corner(w.lower) || !is_corner(w.upper) || w.reach >= 2 * corner_limit || w.step > kLongestStride)
      return false;
  }
  return true;
}

Im2colGather im2col_gather(const Gather& g, const std::uint16_t* image, std::int64_t part_step, int parts,
                           std::int64_t channels, int pixels) {
  Im2colGather result{};
  result.spatial = spatial_axes(g);
  MappedTensor tensor;
  tensor.axes = result.spatial + 2;
  tensor.size[0] = channels;
  Im2colWindow window;
  window.channels = kBoxChannels;
  window.pixels = pixels;
  for (int i = 0; i < result.spatial; ++i) {
    const GatherAxis& axis = g.axis[kAxes - 1 - i];
    const Window w = window_of(axis);
    tensor.size[i + 1] = axis.size;
    tensor.bytes[i + 1] = g.source.stride[kAxes - 1 - i] * kElementBytes;
    window.lower[i] = result.lower[i] = static_cast<int>(w.lower);
    window.upper[i] = static_cast<int>(w.upper);
    window.stride[i] = result.step[i] = static_cast<int>(w.step);
    result.tap_step[i] = static_cast<int>(axis.tap_step);
    result.first_offset[i] = static_cast<int>(axis.offset - w.lower);
  }
  tensor.size[tensor.axes - 1] = g.source.batch;
  tensor.bytes[tensor.axes - 1] = g.source.batch_stride * kElementBytes;
  for (int part = 0; part < parts; ++part) {
    tensor.data = image + part * part_step;
    result.part[part] = map_im2col(tensor, window, Swizzle::bytes128);
  }
  return result;
}

}  // namespace fastconv::cuda
