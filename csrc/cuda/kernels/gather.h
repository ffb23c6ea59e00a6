// core/conv_as_gemm.h's gathers as a device wants them: arithmetic alone, no tables. Through tap t, position
// j of an axis reads element j * step + offset + t * tap_step; outside of the source, the padding mode says
// which one, if any.
#pragma once

#include "core/conv_as_gemm.h"
#include "cuda/kernels/divisor.h"

namespace fastconv::cuda {

struct GatherAxis {
  std::int64_t size, step, offset, tap_step;
  std::int64_t kernel_step;  // from tap to tap in the kernel
  Divisor positions, taps;
};

struct Gather {
  GatherAxis axis[kAxes];
  PaddingMode mode;
  ImageView source, result;
  std::int64_t pixels, taps;
  std::int64_t first_kernel_tap;
};

// `mode` is that of the problem. The result begins first_result elements into the view that the gather has.
inline Gather device_gather(const PixelGather& g, PaddingMode mode) {
  Gather d;
  d.mode = mode;
  d.source = g.source;
  d.result = g.result;
  d.pixels = g.pixels();
  d.taps = g.taps();
  d.first_kernel_tap = g.taps() ? g.kernel_tap[0] : 0;
  std::int64_t inner = 1;  // combinations of the taps of the axes further in
  for (int a = kAxes - 1; a >= 0; --a) {
    const AxisGather& from = g.axis[a];
    const auto taps = static_cast<std::int64_t>(from.taps.size());
    const bool several = taps > 1;
    d.axis[a].size = g.source.size[a];
    d.axis[a].step = from.step;
    d.axis[a].offset = taps ? from.taps[0].offset : 0;
    d.axis[a].tap_step = several ? from.taps[1].offset - from.taps[0].offset : 0;
    d.axis[a].kernel_step = several ? g.kernel_tap[static_cast<std::size_t>(inner)] - g.kernel_tap[0] : 0;
    d.axis[a].positions = Divisor(from.positions);
    d.axis[a].taps = Divisor(taps);
    inner *= taps;
  }
  return d;
}

struct Pixel {
  std::int64_t image, position[kAxes];
};

FASTCONV_DEVICE Pixel pixel_at(const Gather& g, std::int64_t number) {
  Pixel p;
  for (int a = kAxes - 1; a >= 0; --a) {
    const Quotient q = divide(number, g.axis[a].positions);
    p.position[a] = q.remainder;
    number = q.quotient;
  }
  p.image = number;
  return p;
}

struct Tap {
  std::int64_t offset[kAxes];
  std::int64_t kernel_tap;
};

FASTCONV_DEVICE Tap tap_at(const Gather& g, std::int64_t number) {
  Tap t;
  t.kernel_tap = g.first_kernel_tap;
  for (int a = kAxes - 1; a >= 0; --a) {
    const Quotient q = divide(number, g.axis[a].taps);
    t.offset[a] = g.axis[a].offset + q.remainder * g.axis[a].tap_step;
    t.kernel_tap += q.remainder * g.axis[a].kernel_step;
    number = q.quotient;
  }
  return t;
}

// The element that stands for one outside of [0, size); -1 is a zero. Padding never exceeds what the modes
// reach in one step.
FASTCONV_DEVICE std::int64_t padding_source(PaddingMode mode, std::int64_t i, std::int64_t size) {
  switch (mode) {
    case PaddingMode::replicate:
      return i < 0 ? 0 : size - 1;
    case PaddingMode::circular:
      return i < 0 ? i + size : i - size;
    case PaddingMode::reflect:
      return i < 0 ? -i : 2 * (size - 1) - i;
    default:
      return -1;
  }
}

// Element i of an axis, or the one that stands for it; -1 is a zero.
FASTCONV_DEVICE std::int64_t source_element(PaddingMode mode, std::int64_t i, std::int64_t size) {
  return i >= 0 && i < size ? i : padding_source(mode, i, size);
}

// Where a pixel's first channel is read through a tap; false where that is a zero.
FASTCONV_DEVICE bool find_source(const Gather& g, const Pixel& p, const Tap& t, std::int64_t* at) {
  *at = p.image * g.source.batch_stride;
  for (int a = 0; a < kAxes; ++a) {
    const std::int64_t i =
        source_element(g.mode, p.position[a] * g.axis[a].step + t.offset[a], g.axis[a].size);
    if (i < 0) return false;
    *at += i * g.source.stride[a];
  }
  return true;
}

FASTCONV_DEVICE std::int64_t result_offset(const Gather& g, const Pixel& p) {
  std::int64_t at = p.image * g.result.batch_stride;
  for (int a = 0; a < kAxes; ++a) at += p.position[a] * g.result.stride[a];
  return at;
}

}  // namespace fastconv::cuda
