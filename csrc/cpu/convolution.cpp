#include "cpu/convolution.h"

#include "core/conv_as_gemm.h"
#include "cpu/implicit_gemm.h"

namespace fastconv::cpu {

void conv_forward(const Plan& plan, const ConvProblem& p, const ImageView& x, const FilterView& w, const Epilogue& epilogue,
                  const ImageView& y) {
  multiply_pixels_by_filters(plan.machine, {forward_gather(p, x, y)}, w, false, p.groups, epilogue);
}

void conv_input_gradient(const Plan& plan, const ConvProblem& p, const ImageView& dy, const FilterView& w,
                         const Epilogue& epilogue, const ImageView& dx) {
  const InputGradientGathers gathers = input_gradient_gathers(p, dy, dx);
  if (gathers.untouched) {
    multiply_pixels_by_filters(plan.machine, {own_pixels(dx, true)}, w, true, p.groups, epilogue);
  }
  multiply_pixels_by_filters(plan.machine, gathers.phases, w, true, p.groups, epilogue);
}

void conv_weight_gradient(const Plan& plan, const ConvProblem& p, const ImageView& dy, const ImageView& x,
                          const FilterView& dw) {
  multiply_images(plan.machine, own_pixels(dy), forward_gather(p, x, dy), p.groups, dw);
}

}  // namespace fastconv::cpu
