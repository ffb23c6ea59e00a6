// Gathers from packed images (packing.h) as im2col copies make them: positions are places in a window of the
// image, and a tap is an offset that is added to them, from the tap that reads first.
#pragma once

#include "cuda/kernels/gather.h"
#include "cuda/tensor_copy.h"

namespace fastconv::cuda {

constexpr int kMostParts = 3;

struct Im2colGather {
  TensorMap part[kMostParts];
  int spatial;                    // axes that the maps have of W, H and D
  int lower[kAxes], step[kAxes];  // of W, H, D
  int first_offset[kAxes], tap_step[kAxes];
};

// A pixel's place: W, H, D, and its image.
struct Im2colPlace {
  int at[kAxes], image;

  FASTCONV_DEVICE void set(const Gather& g, const Im2colGather& columns, std::int64_t number) {
    const Pixel p = pixel_at(g, number);
    FASTCONV_UNROLL
    for (int i = 0; i < kAxes; ++i)
      at[i] = columns.lower[i] + static_cast<int>(p.position[kAxes - 1 - i]) * columns.step[i];
    image = static_cast<int>(p.image);
  }
};

struct Im2colOffset {
  int of[kAxes];  // W, H, D

  FASTCONV_DEVICE void set(const Gather& g, const Im2colGather& columns, std::int64_t tap) {
    FASTCONV_UNROLL
    for (int i = 0; i < kAxes; ++i) {
      const Quotient q = divide(tap, g.axis[kAxes - 1 - i].taps);
      of[i] = columns.first_offset[i] + static_cast<int>(q.remainder) * columns.tap_step[i];
      tap = q.quotient;
    }
  }
};

// Copies pixels from `place` on, as many as the maps' boxes have, through a tap.
FASTCONV_DEVICE void copy_pixels(void* to, const Im2colGather& from, int part, Mbarrier* done, int channel,
                                 const Im2colPlace& place, const Im2colOffset& offset) {
  const TensorMap& map = from.part[part];
  const int (&at)[kAxes] = place.at;
  const int (&of)[kAxes] = offset.of;
  if (from.spatial == 1) {
    copy_im2col(to, map, done, {channel, at[0], place.image}, {of[0]});
  } else if (from.spatial == 2) {
    copy_im2col(to, map, done, {channel, at[0], at[1], place.image}, {of[0], of[1]});
  } else {
    copy_im2col(to, map, done, {channel, at[0], at[1], at[2], place.image}, {of[0], of[1], of[2]});
  }
}

}  // namespace fastconv::cuda
