// Sums of every channel over batch and space: parts of the pixels first, each by a block, then the parts in
// their order. What a part is follows from the number of pixels alone.
#pragma once

#include "core/tensor_view.h"
#include "cuda/kernels/spans.h"
#include "cuda/kernels/values.h"

namespace fastconv::cuda {

// The channels of a block: neighbours in memory go to neighbouring threads.
constexpr int kAdjacentChannels = 32;

template <class T, int kChannels>
struct ChannelPartsKernel {
  struct Arguments {
    ImageView dy;
    std::int64_t parts, pixels_of_part;
    T* sums;  // [channel][part]
  };
  static constexpr int kThreads = 256, kRows = kThreads / kChannels;
  static constexpr std::int64_t kSharedBytes = kThreads * sizeof(T);

  FASTCONV_DEVICE static void run(const Arguments& a) {
    const ImageView& v = a.dy;
    const std::int64_t part = block_index() % a.parts;
    const std::int64_t channel = block_index() / a.parts * kChannels + thread_index() % kChannels;
    const int row = thread_index() / kChannels;
    const std::int64_t plane = v.size[0] * v.size[1] * v.size[2], pixels = v.batch * plane;
    const std::int64_t first = part * a.pixels_of_part;
    const std::int64_t end = first + a.pixels_of_part < pixels ? first + a.pixels_of_part : pixels;
    T sum = 0;
    if (channel < v.channels) {
      for (std::int64_t p = first + row; p < end; p += kRows) {
        const std::int64_t j = p % plane, line = j / v.size[2];
        sum +=
            load<T>(v.dtype, v.data,
                    p / plane * v.batch_stride + channel * v.channel_stride + line / v.size[1] * v.stride[0] +
                        line % v.size[1] * v.stride[1] + j % v.size[2] * v.stride[2]);
      }
    }
    auto* const shared = static_cast<T*>(shared_memory());
    shared[thread_index()] = sum;
    for (int half = kRows / 2; half > 0; half /= 2) {
      barrier();
      if (row < half) shared[thread_index()] += shared[thread_index() + half * kChannels];
    }
    if (row == 0 && channel < v.channels) a.sums[channel * a.parts + part] = shared[thread_index()];
  }
};

template <class T>
struct ChannelTotalsKernel {
  struct Arguments {
    const T* sums;
    std::int64_t channels, parts;
    Dtype dtype;
    void* db;
  };
  static constexpr int kThreads = kSpanThreads;

  FASTCONV_DEVICE static void run(const Arguments& a) {
    for_each_of_span(a.channels, [&](std::int64_t channel) {
      T sum = 0;
      for (std::int64_t part = 0; part < a.parts; ++part) sum += a.sums[channel * a.parts + part];
      store<T>(a.dtype, a.db, channel, sum);
    });
  }
};

}  // namespace fastconv::cuda
