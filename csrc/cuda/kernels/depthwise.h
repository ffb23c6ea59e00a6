// Depthwise convolutions: every group has one channel and one filter. These move bytes rather than multiply,
// so a thread takes eight channels of a pixel, and what it finds out of a tap serves them all.
//
// A block takes 8 << octet_bits channels. Neighbouring threads take neighbouring channels or neighbouring
// pixels, whichever are neighbours in memory.
#pragma once

#include "cuda/kernels/image_product.h"
#include "cuda/kernels/lanes.h"

namespace fastconv::cuda {

constexpr int kDepthwiseThreads = 256;

struct DepthwiseThread {
  int octet, pixel, pixels;  // within the block; pixels that its threads take at once
};
template <bool kChannelsAdjacent>
FASTCONV_DEVICE DepthwiseThread depthwise_thread(int octet_bits) {
  const int pixels = kDepthwiseThreads >> octet_bits, n = thread_index();
  if (kChannelsAdjacent) return {n & ((1 << octet_bits) - 1), n >> octet_bits, pixels};
  return {n / pixels, n % pixels, pixels};
}

// The source's element for a position of an axis, through a tap; -1 for a zero.
FASTCONV_DEVICE std::int64_t source_at(const Gather& g, int axis, std::int64_t position, int tap) {
  const GatherAxis& along = g.axis[axis];
  return source_element(g.mode, position * along.step + along.offset + tap * along.tap_step, along.size);
}

struct DepthwiseImagesArguments {
  Gather gather;
  FilterLines filters;
  ResultStore store;
  std::int64_t channels;
  bool whole_source, whole_result;
  int octet_bits;
  std::int64_t channel_tiles;
};

template <class T, bool kChannelsAdjacent>
struct DepthwiseImagesKernel {
  using Arguments = DepthwiseImagesArguments;
  static constexpr int kThreads = kDepthwiseThreads, kResidentBlocks = sizeof(T) == 8 ? 2 : 3;
  static constexpr int kRounds = 4;  // pixels of a thread

  // The filters of a block's channels: [tap][channel].
  static std::int64_t shared_bytes(const Arguments& a) {
    return a.gather.taps * (std::int64_t{kLanes} << a.octet_bits) * static_cast<std::int64_t>(sizeof(T));
  }

  FASTCONV_DEVICE static void run(const Arguments& a) {
    const int channels = kLanes << a.octet_bits;
    const std::int64_t first_channel = block_index() % a.channel_tiles * channels;
    const std::int64_t tile = block_index() / a.channel_tiles;
    auto* const filters = static_cast<T*>(shared_memory());
    for (std::int64_t n = thread_index(); n < a.gather.taps * channels; n += kThreads) {
      const std::int64_t channel = first_channel + n % channels;
      const Tap tap = tap_at(a.gather, n / channels);
      filters[n] = channel < a.channels ? load<T>(a.filters.dtype, a.filters.data,
                                                  channel * a.filters.group_step + tap.kernel_tap)
                                        : T(0);
    }
    barrier();

    const DepthwiseThread t = depthwise_thread<kChannelsAdjacent>(a.octet_bits);
    const std::int64_t channel = first_channel + t.octet * kLanes, left = a.channels - channel;
    if (left <= 0) return;
    const int count = left < kLanes ? static_cast<int>(left) : kLanes;
    for (int round = 0; round < kRounds; ++round) {
      const std::int64_t number = (tile * kRounds + round) * t.pixels + t.pixel;
      if (number >= a.gather.pixels) return;
      const Pixel pixel = pixel_at(a.gather, number);
      T sum[kLanes] = {};
      add_taps(a, pixel, channel, count, filters + t.octet * kLanes, channels, sum);
      FASTCONV_UNROLL
      for (int i = 0; i < kLanes; ++i) {
        if (i >= count) continue;
        if (a.store.epilogue.bias)
          sum[i] += load<T>(a.store.bias_dtype, a.store.epilogue.bias,
                            (channel + i) * a.store.epilogue.bias_stride);
        sum[i] = activate(a.store.epilogue.activation, sum[i]);
      }
      store_lanes<T>(a.store.result, a.whole_result,
                     result_offset(a.gather, pixel) + channel * a.store.result.channel_stride, count, sum);
    }
  }

  // A row of taps is summed by itself: so errors grow as slowly as a BLAS'.
  FASTCONV_DEVICE static void add_taps(const Arguments& a, const Pixel& pixel, std::int64_t channel,
                                       int count, const T* filter, int filter_step, T (&sum)[kLanes]) {
    const Gather& g = a.gather;
    const std::int64_t plane = pixel.image * g.source.batch_stride + channel * g.source.channel_stride;
    const int columns = static_cast<int>(g.axis[2].taps.value);
    for (int i = 0; i < g.axis[0].taps.value; ++i) {
      const std::int64_t at0 = source_at(g, 0, pixel.position[0], i);
      for (int j = 0; j < g.axis[1].taps.value; ++j) {
        const std::int64_t at1 = source_at(g, 1, pixel.position[1], j);
        if (at0 < 0 || at1 < 0) {
          filter += columns * filter_step;
          continue;
        }
        const std::int64_t row = plane + at0 * g.source.stride[0] + at1 * g.source.stride[1];
        T of_row[kLanes] = {};
        for (int k = 0; k < columns; ++k, filter += filter_step) {
          const std::int64_t at2 = source_at(g, 2, pixel.position[2], k);
          if (at2 < 0) continue;
          T x[kLanes];
          load_lanes<T>(g.source, a.whole_source, row + at2 * g.source.stride[2], count, x);
          FASTCONV_UNROLL
          for (int lane = 0; lane < kLanes; ++lane) of_row[lane] = fma(x[lane], filter[lane], of_row[lane]);
        }
        FASTCONV_UNROLL
        for (int lane = 0; lane < kLanes; ++lane) sum[lane] += of_row[lane];
      }
    }
  }
};

struct DepthwiseFiltersArguments {
  Gather gather;  // of the image; its result's positions and strides are dy's
  ImageView dy;
  std::int64_t channels;
  bool whole_source, whole_dy;
  int octet_bits;
  std::int64_t channel_tiles, tap_tiles;
  std::int64_t parts, pixels_of_part;
  void* partial_sums;  // [part][channel][tap], where there are several
  Dtype dtype;
  void* dw;  // [channel][tap]
};

// A block sums kTaps taps of its channels' filters over a part of the pixels, each thread over its own; these
// sums are added up in their order.
template <class T, bool kChannelsAdjacent>
struct DepthwiseFiltersKernel {
  using Arguments = DepthwiseFiltersArguments;
  static constexpr int kThreads = kDepthwiseThreads, kTaps = 3;
  static constexpr std::int64_t kSharedBytes = kThreads * kLanes * sizeof(T);

  FASTCONV_DEVICE static void run(const Arguments& a) {
    std::int64_t b = block_index();
    const std::int64_t first_tap = b % a.tap_tiles * kTaps;
    b /= a.tap_tiles;
    const std::int64_t first_channel = b % a.channel_tiles * (kLanes << a.octet_bits);
    const std::int64_t part = b / a.channel_tiles, begin = part * a.pixels_of_part;
    const std::int64_t end =
        begin + a.pixels_of_part < a.gather.pixels ? begin + a.pixels_of_part : a.gather.pixels;

    const DepthwiseThread t = depthwise_thread<kChannelsAdjacent>(a.octet_bits);
    const std::int64_t channel = first_channel + t.octet * kLanes, left = a.channels - channel;
    const int count = left <= 0 ? 0 : left < kLanes ? static_cast<int>(left) : kLanes;
    T sum[kTaps][kLanes] = {};
    if (count > 0) add_pixels(a, first_tap, channel, count, begin + t.pixel, end, t.pixels, sum);

    auto* const shared = static_cast<T*>(shared_memory());
    FASTCONV_UNROLL
    for (int tap = 0; tap < kTaps; ++tap) {
      T* const own = shared + (t.octet * t.pixels + t.pixel) * kLanes;
      FASTCONV_UNROLL
      for (int i = 0; i < kLanes; ++i) own[i] = sum[tap][i];
      barrier();
      for (int half = t.pixels / 2; half > 0; half /= 2) {
        if (t.pixel < half) {
          FASTCONV_UNROLL
          for (int i = 0; i < kLanes; ++i) own[i] += own[half * kLanes + i];
        }
        barrier();
      }
      if (t.pixel == 0 && first_tap + tap < a.gather.taps) {
        for (int i = 0; i < count; ++i) {
          const std::int64_t at = (channel + i) * a.gather.taps + first_tap + tap;
          if (a.parts == 1) {
            store<T>(a.dtype, a.dw, at, own[i]);
          } else {
            static_cast<T*>(a.partial_sums)[part * a.channels * a.gather.taps + at] = own[i];
          }
        }
      }
      barrier();
    }
  }

  FASTCONV_DEVICE static void add_pixels(const Arguments& a, std::int64_t first_tap, std::int64_t channel,
                                         int count, std::int64_t first, std::int64_t end, int apart,
                                         T (&sum)[kTaps][kLanes]) {
    const Gather& g = a.gather;
    Tap taps[kTaps];
    FASTCONV_UNROLL
    for (int tap = 0; tap < kTaps; ++tap)
      taps[tap] = tap_at(g, first_tap + tap < g.taps ? first_tap + tap : first_tap);
    for (std::int64_t number = first; number < end; number += apart) {
      const Pixel pixel = pixel_at(g, number);
      T upstream[kLanes];
      load_lanes<T>(a.dy, a.whole_dy, result_offset(g, pixel) + channel * a.dy.channel_stride, count,
                    upstream);
      FASTCONV_UNROLL
      for (int tap = 0; tap < kTaps; ++tap) {
        std::int64_t at;
        if (!find_source(g, pixel, taps[tap], &at)) continue;
        T x[kLanes];
        load_lanes<T>(g.source, a.whole_source, at + channel * g.source.channel_stride, count, x);
        FASTCONV_UNROLL
        for (int i = 0; i < kLanes; ++i) sum[tap][i] = fma(upstream[i], x[i], sum[tap][i]);
      }
    }
  }
};

// Adds the parts up, in their order.
template <class T>
struct DepthwisePartsKernel {
  using Arguments = DepthwiseFiltersArguments;
  static constexpr int kThreads = kSpanThreads;

  FASTCONV_DEVICE static void run(const Arguments& a) {
    const std::int64_t count = a.channels * a.gather.taps;
    for_each_of_span(count, [&](std::int64_t i) {
      const T sum = sum_of_parts<T>(a.partial_sums, a.parts, count, i);
      store<T>(a.dtype, a.dw, i, sum);
    });
  }
};

}  // namespace fastconv::cuda
