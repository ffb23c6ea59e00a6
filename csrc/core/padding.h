// Padding as a call words it, and what it comes to on each axis.
//
//   pairs    given numbers: `before` and `after` each axis
//   valid    none
//   same     output = ceil(input / stride); of an odd total the extra element goes after (TensorFlow's rule)
//   full     every overlap of window and input: dilated window - 1 on both sides
//   causal   the same, all of it before
//
// The dilated window is dilation * (kernel - 1) + 1. An axis that is not there (input, kernel, stride and
// dilation 1) gets none in every form.
#pragma once

#include <cstdint>
#include <string>

#include "core/tensor_view.h"

namespace fastconv {

struct PaddingSpec {
  enum class Kind { pairs, valid, same, full, causal };
  Kind kind = Kind::pairs;
  int64_t before[kAxes] = {0, 0, 0}, after[kAxes] = {0, 0, 0};  // Kind::pairs alone
};

// Sizes as read_axes() admits them: below 2^57, kernel, stride and dilation at least 1. Throws
// std::invalid_argument, which begins with `function`, where a dilated window does not fit into 56 bits.
void resolve_padding(const std::string& function, const PaddingSpec& spec, const int64_t (&input)[kAxes],
                     const int64_t (&kernel)[kAxes], const int64_t (&stride)[kAxes],
                     const int64_t (&dilation)[kAxes], int64_t (&before)[kAxes], int64_t (&after)[kAxes]);

}  // namespace fastconv
