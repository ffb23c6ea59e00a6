// The gradient of a maximum (contract: PoolScatter in kernel_table.h): every element goes to where its
// maximum lay, and those that meet are added in the order of the windows, in the compute type.
#pragma once

#include "cpu/kernel_table.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

// A target that is zeroed little by little, ahead of what is written: near the windows, while it is in cache.
template <class T>
struct ZeroedAhead {
  T* data;
  int64_t positions, channels, pitch;
  int64_t zeroed = 0;

  void zero_until(int64_t position) {
    const auto bytes = [](int64_t count) { return static_cast<std::size_t>(count) * sizeof(T); };
    if (channels == pitch) {
      __builtin_memset(data + zeroed * pitch, 0, bytes((position - zeroed) * pitch));
    } else {
      for (int64_t i = zeroed; i < position; ++i) __builtin_memset(data + i * pitch, 0, bytes(channels));
    }
    zeroed = position;
  }
  // False where there is no such position.
  bool reach(int64_t position) {
    if (static_cast<std::uint64_t>(position) < static_cast<std::uint64_t>(zeroed)) return true;
    if (position < 0 || position >= positions) return false;
    const int64_t ahead = position + 1 + 2048 / channels;
    zero_until(ahead < positions ? ahead : positions);
    return true;
  }
};

inline float sum_term(float x, VecF32) {
  return x;
}
inline double sum_term(double x, VecF64) {
  return x;
}
template <class V, class S>
typename V::Scalar sum_term(S x, V) {
  typename V::Scalar lanes[V::kLanes];
  load_partial_as(&x, 1, V{}).store(lanes);
  return lanes[0];
}

template <class V, class S>
bool add_at(const PoolScatter& s, typename V::Scalar* sums, int64_t pitch) {
  const S* values = static_cast<const S*>(s.values);
  const int64_t* indices = s.indices;
  ZeroedAhead<typename V::Scalar> target{sums, s.positions, s.channels, pitch};
  if (s.channels == 1 && s.pitch == 1) {
    for (int64_t o = 0; o < s.count; ++o) {
      if (!target.reach(indices[o])) return false;
      sums[indices[o]] += sum_term(values[o], V{});
    }
  } else {
    for (int64_t o = 0; o < s.count; ++o, values += s.pitch, indices += s.pitch) {
      for (int64_t c = 0; c < s.channels; ++c) {
        if (!target.reach(indices[c])) return false;
        sums[indices[c] * pitch + c] += sum_term(values[c], V{});
      }
    }
  }
  target.zero_until(s.positions);
  return true;
}

template <class V>
bool scatter_into(const PoolScatter& s, typename V::Scalar* target) {
  return add_at<V, typename V::Scalar>(s, target, s.pitch);
}
// float16 and bfloat16: through sums in the compute type.
template <class V, class S>
bool scatter_into(const PoolScatter& s, S* target) {
  typename V::Scalar* sums = static_cast<typename V::Scalar*>(s.scratch);
  if (!add_at<V, S>(s, sums, s.channels)) return false;
  const bool dense = s.channels == s.pitch;
  const int64_t rows = dense ? 1 : s.positions, columns = dense ? s.positions * s.channels : s.channels;
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; j += V::kLanes) {
      const int count = columns - j < V::kLanes ? static_cast<int>(columns - j) : V::kLanes;
      const V v = V::load_partial(sums + i * s.channels + j, count);
      store_partial_as(target + i * s.pitch + j, count, v);
    }
  }
  return true;
}

template <class V, class S>
bool scatter_add(const PoolScatter& s) {
  return scatter_into<V>(s, static_cast<S*>(s.target));
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
