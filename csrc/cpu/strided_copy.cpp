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
};

// Rows one after the other, each with its two addresses.
class RowWalk {
 public:
  RowWalk(const CopyLoops& loops, const void* from_data, void* to_data, int64_t row)
      : from(static_cast<const char*>(from_data)), to(static_cast<char*>(to_data)), loops_(loops) {
    for (int i = loops.axes - 2; i >= 0; row /= loops.size[i--]) {
      index_[i] = row % loops.size[i];
      move(i, index_[i]);
    }
  }
  void next() {
    for (int i = loops_.axes - 2; i >= 0; --i) {
      move(i, 1);
      if (++index_[i] < loops_.size[i]) return;
      move(i, -loops_.size[i]);
      index_[i] = 0;
    }
  }

  const char* from;
  char* to;

 private:
  void move(int axis, int64_t steps) {
    from += steps * loops_.from[axis];
    to += steps * loops_.to[axis];
  }

  const CopyLoops& loops_;
  int64_t index_[kMostAxes];
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
    RowWalk row(loops, from.data, to.data, first);
    for (int64_t i = 0; i < count; ++i, row.next())
      copy(row.from, loops.from[last], row.to, loops.to[last], loops.row());
  });
}

}  // namespace fastconv::cpu
