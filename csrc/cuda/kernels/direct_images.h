// Results and input gradients of few filters a group: a thread for each element of the result.
#pragma once

#include "cuda/kernels/image_product.h"

namespace fastconv::cuda {

// kChannelsAdjacent: of the result, whose neighbours in memory neighbouring threads make.
template <class T, bool kChannelsAdjacent>
struct DirectImageKernel {
  using Arguments = ImageProductArguments;
  static constexpr int kThreads = kSpanThreads;

  FASTCONV_DEVICE static void run(const Arguments& a) {
    const Divisor& all_lines = a.inner;  // here: the lines of all groups, or the pixels
    for_each_of_span(a.gather.pixels * a.groups * a.lines, [&](std::int64_t i) {
      const Quotient q = divide(i, all_lines);
      const std::int64_t line = kChannelsAdjacent ? q.remainder : q.quotient;
      const Pixel pixel = pixel_at(a.gather, kChannelsAdjacent ? q.quotient : q.remainder);
      const std::int64_t group = line / a.lines, first_channel = group * a.channels;
      const std::int64_t filter =
          group * a.filters.group_step + (line - group * a.lines) * a.filters.line_step;
      T sum = 0;
      for (std::int64_t t = 0; t < a.gather.taps; ++t) {
        const Tap tap = tap_at(a.gather, t);
        std::int64_t at;
        const bool inside = find_source(a.gather, pixel, tap, &at);
        T of_tap = 0;
        for (std::int64_t channel = 0; channel < a.channels; ++channel) {
          const T value = inside ? load<T>(a.gather.source.dtype, a.gather.source.data,
                                           at + (first_channel + channel) * a.gather.source.channel_stride)
                                 : T(0);
          of_tap = fma(value,
                       load<T>(a.filters.dtype, a.filters.data,
                               filter + channel * a.filters.channel_step + tap.kernel_tap),
                       of_tap);
        }
        sum += of_tap;
      }
      store_result<T>(a.store, result_offset(a.gather, pixel), line, sum);
    });
  }
};

}  // namespace fastconv::cuda
