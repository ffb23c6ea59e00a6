// A convolution of rank 1 to 3, as sizes alone:
//
//   y[n, k, o] = sum over c, t of  x[n, c, o * stride + t * dilation - pad_before] * w[k, c, t]      (per
//   axis)
//
// with c over the in_channels / groups channels of k's group, and x outside its bounds as the padding mode
// says. Axes are arrays of three; the missing leading ones have size 1. A transposed convolution is the input
// gradient of the problem whose input is its result: it needs no problem of its own.
#pragma once

#include <string>
#include <vector>

#include "core/padding.h"
#include "core/tensor_view.h"

namespace fastconv {

enum class PaddingMode : int { zeros, reflect, replicate, circular };

struct ConvProblem {
  int rank = 1;
  int64_t batch = 0, in_channels = 1, out_channels = 1, groups = 1;
  int64_t input[kAxes] = {1, 1, 1}, kernel[kAxes] = {1, 1, 1}, output[kAxes] = {1, 1, 1};
  int64_t stride[kAxes] = {1, 1, 1}, dilation[kAxes] = {1, 1, 1};
  int64_t pad_before[kAxes] = {0, 0, 0}, pad_after[kAxes] = {0, 0, 0};
  PaddingMode mode = PaddingMode::zeros;

  int64_t channels_per_group() const { return in_channels / groups; }
  int64_t filters_per_group() const { return out_channels / groups; }
  int64_t taps() const { return product(kernel); }
  int64_t flops() const { return 2 * batch * out_channels * product(output) * channels_per_group() * taps(); }
};

// What a caller wrote, before it is known to fit together.
struct ConvArguments {
  std::string function;  // "conv2d", for messages
  int rank;
  int64_t batch, channels, size[kAxes];  // of x
  std::vector<int64_t> filter_shape;     // of w, as the caller sees it
  int64_t stride[kAxes], dilation[kAxes];
  PaddingSpec padding;
  int64_t groups;
  PaddingMode mode;
  int64_t output_padding[kAxes];  // transposed only
};

// Checks everything that sizes can tell and computes the rest. std::invalid_argument where they do not fit.
ConvProblem make_conv_problem(const ConvArguments& a);

// The same for a transposed convolution: the problem whose output is x and whose input is the result.
ConvProblem make_conv_transpose_problem(const ConvArguments& a);

}  // namespace fastconv
