// Eight channels of a pixel at a time: as whole pieces of memory where they are neighbours and aligned.
#pragma once

#include "core/tensor_view.h"
#include "cuda/kernels/values.h"

namespace fastconv::cuda {

constexpr int kLanes = 8;

// Whether every eighth channel of every pixel begins at a multiple of 16 bytes, and the next seven follow.
inline bool has_whole_lanes(const ImageView& v) {
  bool whole = v.channel_stride == 1 && v.channels % kLanes == 0 && v.batch_stride % kLanes == 0 &&
               reinterpret_cast<std::uintptr_t>(v.data) % 16 == 0;
  for (const std::int64_t stride : v.stride) whole = whole && stride % kLanes == 0;
  return whole;
}

template <class Element>
struct alignas(16) Lanes {
  Element of[kLanes];
};

// `count` channels from element `at` on, zeros for the rest; `whole` where has_whole_lanes.
template <class T>
FASTCONV_DEVICE void load_lanes(const ImageView& v, bool whole, std::int64_t at, int count,
                                T (&values)[kLanes]) {
  if (!whole) {
    FASTCONV_UNROLL
    for (int i = 0; i < kLanes; ++i)
      values[i] = i < count ? load<T>(v.dtype, v.data, at + i * v.channel_stride) : T(0);
    return;
  }
  const auto widened = [&](auto element, auto widen_one) {
    const auto lanes = *reinterpret_cast<const Lanes<decltype(element)>*>(
        static_cast<const decltype(element)*>(v.data) + at);
    FASTCONV_UNROLL
    for (int i = 0; i < kLanes; ++i) values[i] = static_cast<T>(widen_one(lanes.of[i]));
  };
  const auto same = [](auto x) { return x; };
  const auto wider = [](auto x) { return widen(x); };
  if constexpr (sizeof(T) == 8) {
    widened(double(), same);
  } else if (v.dtype == Dtype::float16) {
    widened(Float16(), wider);
  } else if (v.dtype == Dtype::bfloat16) {
    widened(BFloat16(), wider);
  } else {
    widened(float(), same);
  }
}

template <class T>
FASTCONV_DEVICE void store_lanes(const ImageView& v, bool whole, std::int64_t at, int count,
                                 const T (&values)[kLanes]) {
  if (!whole) {
    FASTCONV_UNROLL
    for (int i = 0; i < kLanes; ++i)
      if (i < count) store<T>(v.dtype, v.data, at + i * v.channel_stride, values[i]);
    return;
  }
  const auto narrowed = [&](auto element, auto narrow_one) {
    Lanes<decltype(element)> lanes;
    FASTCONV_UNROLL
    for (int i = 0; i < kLanes; ++i) lanes.of[i] = narrow_one(values[i]);
    *reinterpret_cast<Lanes<decltype(element)>*>(static_cast<decltype(element)*>(v.data) + at) = lanes;
  };
  const auto same = [](auto x) { return x; };
  if constexpr (sizeof(T) == 8) {
    narrowed(double(), same);
  } else if (v.dtype == Dtype::float16) {
    narrowed(Float16(), [](float x) { return to_float16(x); });
  } else if (v.dtype == Dtype::bfloat16) {
    narrowed(BFloat16(), [](float x) { return to_bfloat16(x); });
  } else {
    narrowed(float(), same);
  }
}

}  // namespace fastconv::cuda
