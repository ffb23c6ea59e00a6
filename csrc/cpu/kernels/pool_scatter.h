// The gradient of a maximum (PoolScatter in contracts/pools.h): every element goes to where its
// maximum lay, and those that meet are added in the order of the windows, in the compute type.
#pragma once

#include "cpu/contracts/pools.h"

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
  // False where one of the indices is no position. Looked through before anything is added: the additions
  // then run without a branch.
  bool reach(const int64_t* indices, int64_t count) {
    if (zeroed == positions) {
      std::uint64_t outside =
          0;  // the highest bit is set where an index, or what it leaves behind it, is below 0
      const std::uint64_t last = static_cast<std::uint64_t>(positions) - 1;
      for (int64_t i = 0; i < count; ++i) {
        const std::uint64_t at = static_cast<std::uint64_t>(indices[i]);
        outside |= at | (last - at);
      }
      return outside >> 63 == 0;
    }
    std::uint64_t farthest = 0;  // negative ones are far
    for (int64_t i = 0; i < count; ++i) {
      const std::uint64_t at = static_cast<std::uint64_t>(indices[i]);
      farthest = at > farthest ? at : farthest;
    }
    if (farthest < static_cast<std::uint64_t>(zeroed)) return true;
    if (farthest >= static_cast<std::uint64_t>(positions)) return false;
    reach_until(static_cast<int64_t>(farthest));
    return true;
  }
  void reach_until(int64_t position) {
    if (position < zeroed) return;
    const int64_t ahead = position + 1 + 2048 / channels;
    zero_until(ahead < positions ? ahead : positions);
  }
};

// `count` values in the compute type: themselves, or widened into `room`.
inline const float* widened(const float* values, int64_t, float*, VecF32) { return values; }
inline const double* widened(const double* values, int64_t, double*, VecF64) { return values; }
template <class V, class S>
const typename V::Scalar* widened(const S* values, int64_t count, typename V::Scalar* room, V) {
  for (int64_t i = 0; i < count; i += V::kLanes) {
    const int64_t rest = count - i;
    if (rest >= V::kLanes) {
      load_as(values + i, V{}).store(room + i);
    } else {
      load_partial_as(values + i, static_cast<int>(rest), V{}).store(room + i);
    }
  }
  return room;
}

// The positions of taps. All of a chunk, before anything is added there: looked up one by one on the way,
// they cost half as much again.
inline void look_up(const std::int32_t* __restrict start, const std::int32_t* __restrict offset,
                    const std::uint8_t* __restrict taps, int64_t count, std::int32_t* __restrict positions) {
  for (int64_t i = 0; i < count; ++i) positions[i] = start[i] + offset[taps[i]];
}

constexpr int64_t kChunk = 256;

// Calls add(o, begin, count, values) for values [begin, begin + count) of each window o; of a single channel
// the windows are the neighbours, and o is 0. False where it says so.
template <class V, class S, class Add>
bool for_each_chunk(const PoolScatter& s, bool single, const Add& add) {
  typename V::Scalar room[kChunk];
  const int64_t outer = single ? 1 : s.count, inner = single ? s.count : s.channels;
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t begin = 0; begin < inner; begin += kChunk) {
      const int64_t count = inner - begin < kChunk ? inner - begin : kChunk;
      const S* const values = static_cast<const S*>(s.values) + o * s.pitch + begin;
      if (!add(o, begin, count, widened(values, count, room, V{}))) return false;
    }
  }
  return true;
}

// Values o of neighbouring channels go to sums[position * pitch + channel].
template <class V, class S>
bool add_at(const PoolScatter& s, typename V::Scalar* sums, int64_t pitch) {
  using T = typename V::Scalar;
  ZeroedAhead<T> target{sums, s.positions, s.channels, pitch};
  constexpr int64_t kSmallPlane = 4096;
  const bool single = s.channels == 1 && s.pitch == 1;
  if (single && s.positions <= kSmallPlane) target.zero_until(s.positions);
  const auto add_by_index = [&](int64_t o, int64_t begin, int64_t count, const T* values) {
    const int64_t* const indices = s.indices + o * s.pitch + begin;
    if (!target.reach(indices, count)) return false;
    if (single) {
      for (int64_t i = 0; i < count; ++i) sums[indices[i]] += values[i];
    } else {
      for (int64_t i = 0; i < count; ++i) sums[indices[i] * pitch + begin + i] += values[i];
    }
    return true;
  };
  const auto add_by_tap = [&](int64_t o, int64_t begin, int64_t count, const T* values) {
    const std::uint8_t* const taps = s.taps + o * s.pitch + begin;
    const std::int32_t* const start = s.start + (single ? begin : o);
    target.reach_until(start[single ? count - 1 : 0] + s.reach);
    if (single) {
      std::int32_t positions[kChunk];
      look_up(start, s.offset, taps, count, positions);
      for (int64_t i = 0; i < count; ++i) sums[positions[i]] += values[i];
    } else {
      T* const window = sums + *start * pitch + begin;
      for (int64_t i = 0; i < count; ++i) window[s.offset[taps[i]] * pitch + i] += values[i];
    }
    return true;
  };
  const bool good =
      s.taps ? for_each_chunk<V, S>(s, single, add_by_tap) : for_each_chunk<V, S>(s, single, add_by_index);
  if (good) target.zero_until(s.positions);
  return good;
}

// Copies to memory that is not read soon, past the caches: lines are written without having been read.
inline void stream_copy(void* to, const void* from, int64_t bytes) {
  char* t = static_cast<char*>(to);
  const char* f = static_cast<const char*>(from);
  int64_t i = static_cast<int64_t>(-reinterpret_cast<std::uintptr_t>(t) % 64);  // to the first whole line
  if (i > bytes) i = bytes;
  __builtin_memcpy(t, f, static_cast<std::size_t>(i));
  for (; i + 64 <= bytes; i += 64) stream_line(t + i, f + i);
  stream_end();
  __builtin_memcpy(t + i, f + i, static_cast<std::size_t>(bytes - i));
}

template <class V>
bool scatter_into(const PoolScatter& s, typename V::Scalar* target) {
  using T = typename V::Scalar;
  if (!s.stream) return add_at<V, T>(s, target, s.pitch);
  if (!add_at<V, T>(s, static_cast<T*>(s.scratch), s.channels)) return false;
  stream_copy(target, s.scratch, s.positions * s.channels * static_cast<int64_t>(sizeof(T)));
  return true;
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
