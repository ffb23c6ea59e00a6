// The CPU's convolutions: forward, input gradient, weight gradient, by the route that select_algorithm chose.
// A transposed convolution is the input gradient with a bias and an activation; its own gradients are the
// forward and the weight gradient with the images' roles exchanged.
#pragma once

#include "core/conv_problem.h"
#include "cpu/product.h"
#include "cpu/select_algorithm.h"

namespace fastconv::cpu {

// y (written whole) from x and w. w is (out_channels, in_channels / groups, taps).
void conv_forward(const Plan& plan, const ConvProblem& p, const ImageView& x, const FilterView& w,
                  const Epilogue& epilogue, const ImageView& y);
// dx (written whole) from dy and w.
void conv_input_gradient(const Plan& plan, const ConvProblem& p, const ImageView& dy, const FilterView& w,
                         const Epilogue& epilogue, const ImageView& dx);
// dw (written whole, contiguous) from dy and x.
void conv_weight_gradient(const Plan& plan, const ConvProblem& p, const ImageView& dy, const ImageView& x,
                          const FilterView& dw);

// What these run, one after the other, for images and filters of the given sizes, strides and dtypes.
std::vector<std::unique_ptr<Product>> prepare(const Plan& plan, const ConvProblem& p, Direction direction,
                                              const ImageView& x, const ImageView& y, const FilterView& w);

// The prepared products of former calls, kept for calls of the same shapes: their number, and to forget them.
int64_t kept_calls();
void forget_calls();

}  // namespace fastconv::cpu
