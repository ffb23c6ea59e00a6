#include "cpu/strided_copy.h"

#include <algorithm>
#include <cstring>

#include "cpu/spans.h"

namespace fastconv::cpu {
namespace {

constexpr double kNsPerElement = 1;

// Axes, slowest first, without those of size 1; neighbours that both arrays walk through in one stride are
// one. Strides are in bytes.
struct CopyLoops {
  int axes = 0;
  int64_t size[kMostAxes], from[kMostAxes], to[kMostAxes];

  CopyLoops(const StridedArray& a, const StridedArray& b) {
    for (int i = 0; i < a.ndim; ++i) {
      if (a.shape[i] == 1) continue;
      const int64_t from_stride = a.stride[i] * a.itemsize, to_stride = b.stride[i] * b.itemsize;
      const bool continues =
          axes > 0 && from[axes - 1] == from_stride * a.shape[i] && to[axes - 1] == to_stride * a.shape[i];
      if (!continues) size[axes++] = 1;
      size[axes - 1] *= a.shape[i];
      from[axes - 1] = from_stride;
      to[axes - 1] = to_stride;
    }
    if (axes == 0) {  // one element
      size[0] = 1;
      from[0] = to[0] = a.itemsize;
      axes = 1;
    }
  }
  int64_t row() const { return size[axes - 1]; }
  int64_t rows() const {
    int64_t r = 1;
    for (int i = 0; i < axes - 1; ++i) r *= size[i];
    return r;
  }
  int64_t offset(const int64_t* stride, int64_t number) const {  // of a row
    int64_t r = 0;
    for (int i = axes - 2; i >= 0; --i, number /= size[i + 1]) r += number % size[i] * stride[i];
    return r;
  }
};

template <class T>
void copy_row(const char* from, int64_t from_stride, char* to, int64_t to_stride, int64_t count) {
  if (from_stride == sizeof(T) && to_stride == sizeof(T)) {
    std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(T));
    return;
  }
  for (int64_t i = 0; i < count; ++i)
    *reinterpret_cast<T*>(to + i * to_stride) = *reinterpret_cast<const T*>(from + i * from_stride);
}

}  // namespace

void strided_copy(const StridedArray& from, const StridedArray& to) {
  if (std::find(from.shape, from.shape + from.ndim, 0) != from.shape + from.ndim) return;
  const CopyLoops loops(from, to);
  const auto copy = from.itemsize == 8   ? copy_row<std::uint64_t>
                    : from.itemsize == 4 ? copy_row<std::uint32_t>
                                         : copy_row<std::uint16_t>;
  const int last = loops.axes - 1;
  for_each_row_group(loops.rows(), loops.row(), kNsPerElement, [&](int64_t first, int64_t count) {
    for (int64_t row = first; row < first + count; ++row) {
      copy(static_cast<const char*>(from.data) + loops.offset(loops.from, row), loops.from[last],
           static_cast<char*>(to.data) + loops.offset(loops.to, row), loops.to[last], loops.row());
    }
  });
}

}  // namespace fastconv::cpu
