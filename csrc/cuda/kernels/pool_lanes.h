// What a thread of a pool makes: one position of kLanes channels ("lanes"), which share all that there is to
// compute of windows. Neighbouring threads read and write neighbours in memory:
//
//   channels_first   threads run along the positions of a plane; the lanes of one are planes that follow each
//                    other
//   channels_last    threads run along the channels of a position; the lanes of one are a vector of
//                    neighbours where these are aligned ("adjacent"), else a share of the channels apart
//
// Of what lies outside (images, or further planes) a thread takes `rounds`, one after the other. An element
// is computed in the same way whatever lanes and rounds it falls into.
#pragma once

#include <type_traits>

#include "core/integers.h"
#include "core/tensor_view.h"
#include "cuda/device.h"
#include "cuda/kernels/divisor.h"

namespace fastconv::cuda {

template <class S>
using ComputeType = std::conditional_t<std::is_same_v<S, double>, double, float>;

template <class S>
constexpr int kLanes = 16 / static_cast<int>(sizeof(S));

template <class S>
FASTCONV_DEVICE ComputeType<S> widened(S x) {
  if constexpr (sizeof(S) == 2) {
    return widen(x);
  } else {
    return x;
  }
}
template <class S>
FASTCONV_DEVICE S narrowed(ComputeType<S> x) {
  if constexpr (std::is_same_v<S, Float16>) {
    return to_float16(x);
  } else if constexpr (std::is_same_v<S, BFloat16>) {
    return to_bfloat16(x);
  } else {
    return x;
  }
}

template <class E, int kCount>
struct alignas(16) Packet {
  E lane[kCount];
};

// Reads the lanes of one round: neighbours, of which all are live, or elements `pitch` apart, the first
// `live` of which count. The others are the last of these once more, which costs no memory access of their
// own.
template <class S, bool kAdjacent>
class LaneReader {
 public:
  static constexpr int kCount = kLanes<S>;
  FASTCONV_DEVICE LaneReader(const void* data, std::int64_t first, std::int64_t pitch, int live) {
    const char* at = static_cast<const char*>(data) + first * kItem;
    FASTCONV_UNROLL
    for (int j = 0; j < kPointers; ++j) {
      lane_[j] = at;
      if (j + 1 < live) at += pitch * kItem;
    }
  }
  template <class Offset>
  FASTCONV_DEVICE Packet<S, kCount> operator()(Offset offset) const {
    const std::int64_t bytes = static_cast<std::int64_t>(offset) * kItem;
    if constexpr (kAdjacent) {
      return *reinterpret_cast<const Packet<S, kCount>*>(lane_[0] + bytes);
    } else {
      Packet<S, kCount> packet;
      FASTCONV_UNROLL
      for (int j = 0; j < kCount; ++j) packet.lane[j] = *reinterpret_cast<const S*>(lane_[j] + bytes);
      return packet;
    }
  }

 private:
  static constexpr int kPointers = kAdjacent ? 1 : kCount;
  static constexpr std::int64_t kItem = sizeof(S);
  const char* lane_[kPointers];  // so that an offset becomes bytes once for all of them
};

template <bool kAdjacent, class E, int kCount>
FASTCONV_DEVICE void store_lanes(void* data, std::int64_t first, std::int64_t pitch, int live,
                                 const Packet<E, kCount>& packet) {
  E* to = static_cast<E*>(data) + first;
  if constexpr (kAdjacent) {
    *reinterpret_cast<Packet<E, kCount>*>(to) = packet;
  } else {
    FASTCONV_UNROLL
    for (int j = 0; j < kCount; ++j, to += pitch)
      if (j < live) *to = packet.lane[j];
  }
}

// A thread's work: `rounds` rounds at a position; the present one is for channels `channel`, + lane_step, ...
// of an image, as many as `live`.
struct LaneRounds {
  std::int64_t position, rounds;
  std::int64_t image, inner_group, outer_group, channel;
  int live;

  FASTCONV_DEVICE std::int64_t offset(const ImageView& v) const {
    return image * v.batch_stride + channel * v.channel_stride;
  }
};

struct LaneGrid {
  std::int64_t channels;    // of an image
  std::int64_t group_step;  // channels from group to group
  std::int64_t outer;       // rounds of all threads at one position
  std::int64_t rounds = 1;  // of one thread
  int lanes;
  Divisor lane_step, inner, inner_groups, outer_groups;

  // `width`: the groups of a position are rounded up to a multiple of it.
  LaneGrid(const ImageView& v, std::int64_t positions, int lanes_of_thread, bool channels_last, bool adjacent,
           std::int64_t width = 1)
      : channels(v.channels), lanes(lanes_of_thread) {
    const std::int64_t groups = ceil_div(v.channels, lanes);
    const bool apart = channels_last && !adjacent;
    group_step = apart ? 1 : lanes;
    lane_step = Divisor(apart ? groups : 1);
    inner_groups = Divisor(channels_last ? round_up(groups, width) : 1);
    outer_groups = Divisor(channels_last ? 1 : groups);
    inner = Divisor(positions * inner_groups.value);
    outer = v.batch * outer_groups.value;
  }
  std::int64_t threads() const { return ceil_div(outer, rounds) * inner.value; }
  // Rounds save work where there are more threads than any device holds.
  void share_out() {
    constexpr std::int64_t kPlenty = 1 << 18, kMostRounds = 8;
    const std::int64_t spare = threads() / kPlenty;
    rounds = spare < 1 ? 1 : spare < kMostRounds ? spare : kMostRounds;
  }

  // No rounds: there is no such thread.
  FASTCONV_DEVICE LaneRounds of_thread(std::int64_t thread) const {
    const Quotient chunk = divide(thread, inner), position = divide(chunk.remainder, inner_groups);
    const std::int64_t first = chunk.quotient * rounds, left = outer - first;
    const Quotient image = divide(first, outer_groups);
    LaneRounds r;
    r.position = position.quotient;
    r.rounds = left < rounds ? left : rounds;
    r.image = image.quotient;
    r.inner_group = position.remainder;
    r.outer_group = image.remainder;
    find_channels(&r);
    return r;
  }
  FASTCONV_DEVICE void advance(LaneRounds* r) const {
    --r->rounds;
    if (++r->outer_group == outer_groups.value) {
      r->outer_group = 0;
      ++r->image;
    }
    find_channels(r);
  }

 private:
  FASTCONV_DEVICE void find_channels(LaneRounds* r) const {
    r->channel = (r->outer_group + r->inner_group) * group_step;
    const std::int64_t left = channels - r->channel;
    const std::int64_t live = left > 0 ? divide(left + lane_step.value - 1, lane_step).quotient : 0;
    r->live = live < lanes ? static_cast<int>(live) : lanes;
  }
};

// Planes in a row are the channels of one image.
inline bool planes_in_a_row(const ImageView& v) {
  return v.channels == 1 || v.batch == 1 || v.batch_stride == v.channels * v.channel_stride;
}
inline ImageView one_image(ImageView v) {
  if (v.channels == 1) v.channel_stride = v.batch_stride;
  v.channels *= v.batch;
  v.batch = 1;
  return v;
}

inline bool aligned(const void* data) { return reinterpret_cast<std::uintptr_t>(data) % 16 == 0; }

// Whether lanes are vectors in memory.
inline bool holds_packets(const ImageView& v) {
  const std::int64_t lanes = 16 / size_of(v.dtype);
  bool whole = aligned(v.data) && v.channel_stride == 1 && v.channels % lanes == 0 &&
               (v.batch == 1 || v.batch_stride % lanes == 0);
  for (int i = 0; i < kAxes; ++i) whole = whole && (v.size[i] == 1 || v.stride[i] % lanes == 0);
  return whole;
}

}  // namespace fastconv::cuda
