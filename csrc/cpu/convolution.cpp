#include "cpu/convolution.h"

#include "core/conv_as_gemm.h"
#include "cpu/depthwise.h"
#include "cpu/implicit_gemm.h"
#include "cpu/winograd.h"

namespace fastconv::cpu {

void conv_forward(const Plan& plan, const ConvProblem& p, const ImageView& x, const FilterView& w,
                  const Epilogue& epilogue, const ImageView& y) {
  const PixelGather g = forward_gather(p, x, y);
  if (plan.algorithm == Algorithm::direct) {
    filter_depthwise(plan.machine, {g}, y, w, false, epilogue);
  } else if (plan.algorithm == Algorithm::winograd) {
    filter_winograd(plan.machine, plan.winograd_tile, g, w, false, p.groups, epilogue);
  } else {
    multiply_pixels_by_filters(plan.machine, {g}, w, false, p.groups, epilogue);
  }
}

void conv_input_gradient(const Plan& plan, const ConvProblem& p, const ImageView& dy, const FilterView& w,
                         const Epilogue& epilogue, const ImageView& dx) {
  const InputGradientGathers gathers = input_gradient_gathers(p, dy, dx);
  if (gathers.untouched) {
    multiply_pixels_by_filters(plan.machine, {own_pixels(dx, true)}, w, true, p.groups, epilogue);
  }
  if (plan.algorithm == Algorithm::direct) {
    filter_depthwise(plan.machine, gathers.phases, dx, w, true, epilogue);
  } else if (plan.algorithm == Algorithm::winograd) {
    for (const PixelGather& g : gathers.phases)
      filter_winograd(plan.machine, plan.winograd_tile, g, w, true, p.groups, epilogue);
  } else {
    multiply_pixels_by_filters(plan.machine, gathers.phases, w, true, p.groups, epilogue);
  }
}

void conv_weight_gradient(const Plan& plan, const ConvProblem& p, const ImageView& dy, const ImageView& x,
                          const FilterView& dw) {
  const PixelGather g = forward_gather(p, x, dy);
  if (plan.algorithm == Algorithm::direct) {
    correlate_depthwise(plan.machine, g, dw);
  } else if (plan.algorithm == Algorithm::winograd) {
    correlate_winograd(plan.machine, plan.winograd_tile, g, p.groups, dw);
  } else {
    multiply_images(plan.machine, own_pixels(dy), g, p.groups, dw);
  }
}

}  // namespace fastconv::cpu
