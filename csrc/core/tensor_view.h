// Tensors as the drivers see them: typed memory with strides (in elements, any sign). Spatial axes are an
// array of three, the missing leading ones of size 1, so that rank and layout vanish here: channels_first and
// channels_last differ in strides alone.
#pragma once

#include <cstdint>

#include "core/dtype.h"

namespace fastconv {

using std::int64_t;

constexpr int kAxes = 3;

struct ImageView {  // (batch, channels, size...)
  void* data = nullptr;
  Dtype dtype = Dtype::float32;
  int64_t batch = 0, channels = 0, size[kAxes] = {1, 1, 1};
  int64_t batch_stride = 0, channel_stride = 0, stride[kAxes] = {0, 0, 0};
};

// Channels lie next to each other in memory and pixels do not: channels_last.
inline bool channels_adjacent(const ImageView& v) {
  return v.channel_stride == 1 && v.stride[kAxes - 1] != 1;
}

struct FilterView {  // (filters, channels, taps), contiguous
  void* data = nullptr;
  Dtype dtype = Dtype::float32;
  int64_t filters = 0, channels = 0, taps = 1;
};

inline int64_t product(const int64_t (&v)[kAxes]) { return v[0] * v[1] * v[2]; }

inline char* element(void* data, Dtype t, int64_t offset) {
  return static_cast<char*>(data) + offset * size_of(t);
}
inline const char* element(const void* data, Dtype t, int64_t offset) {
  return static_cast<const char*>(data) + offset * size_of(t);
}

}  // namespace fastconv
