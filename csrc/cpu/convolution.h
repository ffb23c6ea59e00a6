// The CPU's convolutions: forward, input gradient, weight gradient, by the route that select_algorithm chose.
// A transposed convolution is the input gradient with a bias and an activation; its own gradients are the
// forward and the weight gradient with the images' roles exchanged.
#pragma once

#include "core/conv_problem.h"
#include "cpu/select_algorithm.h"

namespace fastconv::cpu {

// Added to a result's channels before the activation; of the filters' dtype, null for none. Images may be of
// the compute type where the filters are of a storage type: sums that no caller sees need not be rounded.
struct Epilogue {
  const void* bias = nullptr;
  int64_t bias_stride = 1;
  Activation activation = Activation::none;
};

// y (written whole) from x and w. w is (out_channels, in_channels / groups, taps).
void conv_forward(const Plan& plan, const ConvProblem& p, const ImageView& x, const FilterView& w,
                  const Epilogue& epilogue, const ImageView& y);
// dx (written whole) from dy and w.
void conv_input_gradient(const Plan& plan, const ConvProblem& p, const ImageView& dy, const FilterView& w,
                         const Epilogue& epilogue, const ImageView& dx);
// dw (written whole, contiguous) from dy and x.
void conv_weight_gradient(const Plan& plan, const ConvProblem& p, const ImageView& dy, const ImageView& x,
                          const FilterView& dw);

}  // namespace fastconv::cpu
