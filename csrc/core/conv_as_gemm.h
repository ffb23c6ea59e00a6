// The one table that turns convolutions into matrix products over views of the tensors:
//
//   direction           pixels (batch x positions)   filters (lines)    reduction
//   forward             y's, gathered from x         out_channels       input channels x taps
//   input gradient      x's, gathered from dy        in_channels        output channels x taps
//   weight gradient     reduction over y's pixels:   dw[k][c, t] = sum over pixels of dy[pixel, k] *
//   x[pixel's tap t, c]
//
// A gather says, axis by axis, which source element a target position j reads through tap t. Within a range
// of j it is the line j * step + offset; what padding modes add lies outside that line and is listed one by
// one. Everything that stride, dilation, padding and direction do to a convolution is in these ranges and
// lists.
//
// The input gradient of a strided convolution falls into product(stride) phases, the positions that agree
// modulo the stride; each reads its own subset of the taps at step 1, so that no product is with a zero that
// the stride put there.
#pragma once

#include <utility>
#include <vector>

#include "core/conv_problem.h"

namespace fastconv {

struct TapMap {
  int64_t low = 0, high = 0, offset = 0;  // low <= j < high reads j * step + offset
  std::vector<std::pair<int64_t, int64_t>>
      extra;  // further (j, source), sorted by j; these add to what the line reads

  bool operator==(const TapMap& o) const {
    return low == o.low && high == o.high && offset == o.offset && extra == o.extra;
  }
};

// Sets low and high: the j in [0, positions) whose line j * step + offset lies in [0, size).
void clip_to_source(TapMap* t, int64_t positions, int64_t step, int64_t size);

struct AxisGather {
  int64_t positions = 1, step = 1;
  std::vector<TapMap> taps;  // the taps that any position reads
};

// One gather of pixels, numbered ((n * positions[0] + j0) * positions[1] + j1) * positions[2] + j2. Position
// j of axis a has the address j * result.stride[a] in the result, which begins first_result elements into the
// image that it is part of.
struct PixelGather {
  AxisGather axis[kAxes];
  ImageView source, result;
  int64_t images = 0;  // of the call, though they may be gathered as one
  int64_t first_result = 0;
  std::vector<int64_t>
      kernel_tap;  // for each combination of the axes' taps, row-major: its place in the kernel
  int64_t taps() const { return static_cast<int64_t>(kernel_tap.size()); }
  int64_t pixels() const { return source.batch * axis[0].positions * axis[1].positions * axis[2].positions; }
  // The same gather over other images of the same strides.
  void bind(void* source_data, void* result_data) {
    source.data = source_data;
    result.data = result_data ? element(result_data, result.dtype, first_result) : nullptr;
  }
};

// y's pixels gathered from x: the forward product, and the x side of the weight gradient.
PixelGather forward_gather(const ConvProblem& p, const ImageView& x, const ImageView& y);

// x's pixels gathered from dy, phase by phase. Where some pixels are reached by no tap at all (a stride wider
// than the kernel), `untouched` is set: the result is to be filled as if every sum were zero before the
// phases are written.
struct InputGradientGathers {
  std::vector<PixelGather> phases;
  bool untouched = false;
};
InputGradientGathers input_gradient_gathers(const ConvProblem& p, const ImageView& dy, const ImageView& dx);

// Where a position of an image is read through the first tap, in elements; in padding, its nearest neighbour.
// There must be a tap.
int64_t source_near(const PixelGather& g, int64_t image, const int64_t (&position)[kAxes]);

// Images of one row that is read element by element become one long row, where they follow each other in both
// tensors.
void merge_images(PixelGather* g);

// An image's own pixels, through one tap or (`empty`) through none.
PixelGather own_pixels(const ImageView& image, bool empty = false);

}  // namespace fastconv
