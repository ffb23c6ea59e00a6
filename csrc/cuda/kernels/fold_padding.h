// The input gradient of a convolution whose padding repeats elements: gradients of the padded image, summed
// for each element over the places where it stands.
#pragma once

#include "core/conv_problem.h"
#include "cuda/kernels/gather.h"
#include "cuda/kernels/spans.h"
#include "cuda/kernels/values.h"

namespace fastconv::cuda {

struct FoldedAxis {
  std::int64_t size, before, padded;
};

template <class T>
struct FoldPaddingKernel {
  struct Arguments {
    FoldedAxis axis[kAxes];
    PaddingMode mode;
    ImageView padded, dx;
  };
  static constexpr int kThreads = kSpanThreads;

  // Calls body(place) for every place of the padded axis that holds element i, upwards.
  template <class Body>
  FASTCONV_DEVICE static void for_each_place(const FoldedAxis& axis, PaddingMode mode, std::int64_t i,
                                             const Body& body) {
    for (std::int64_t p = 0; p < axis.before; ++p)
      if (padding_source(mode, p - axis.before, axis.size) == i) body(p);
    body(axis.before + i);
    for (std::int64_t p = axis.before + axis.size; p < axis.padded; ++p)
      if (padding_source(mode, p - axis.before, axis.size) == i) body(p);
  }

  FASTCONV_DEVICE static void run(const Arguments& a) {
    const ImageView &from = a.padded, &to = a.dx;
    for_each_of_span(to.batch * to.channels * to.size[0] * to.size[1] * to.size[2], [&](std::int64_t number) {
      std::int64_t at[kAxes];
      for (int axis = kAxes - 1; axis >= 0; --axis) {
        at[axis] = number % to.size[axis];
        number /= to.size[axis];
      }
      const std::int64_t channel = number % to.channels, image = number / to.channels;
      const std::int64_t plane = image * from.batch_stride + channel * from.channel_stride;
      T sum = 0;
      for_each_place(a.axis[0], a.mode, at[0], [&](std::int64_t i) {
        for_each_place(a.axis[1], a.mode, at[1], [&](std::int64_t j) {
          for_each_place(a.axis[2], a.mode, at[2], [&](std::int64_t k) {
            sum += load<T>(from.dtype, from.data,
                           plane + i * from.stride[0] + j * from.stride[1] + k * from.stride[2]);
          });
        });
      });
      store<T>(to.dtype, to.data,
               image * to.batch_stride + channel * to.channel_stride + at[0] * to.stride[0] +
                   at[1] * to.stride[1] + at[2] * to.stride[2],
               sum);
    });
  }
};

}  // namespace fastconv::cuda
