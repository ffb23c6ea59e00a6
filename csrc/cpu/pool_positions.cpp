#include <algorithm>
#include <atomic>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/buffer_pool.h"
#include "cpu/cpu_features.h"
#include "cpu/dispatch.h"
#include "cpu/parallel.h"
#include "cpu/pool.h"

namespace fastconv::cpu {
namespace {

constexpr double kNsPerElement = 1;

int64_t plane_count(const ImageView& v, bool lanes) { return lanes ? v.batch : v.batch * v.channels; }
int64_t plane_offset(const ImageView& v, bool lanes, int64_t plane) {
  return lanes ? plane * v.batch_stride
               : plane / v.channels * v.batch_stride + plane % v.channels * v.channel_stride;
}

// One plane, or the neighbouring channels [channel, channel + channels) of one image.
struct Group {
  int64_t small, large;  // offsets of the first element
  int64_t channels;
};

// Calls body(worker, group) -> bool for all planes; false where one of them met an index that is none.
template <class Body>
bool for_each_group(const ImageView& small, const ImageView& large, bool lanes, int64_t channel_block,
                    int threads, const Body& body) {
  const int64_t blocks = lanes ? (small.channels + channel_block - 1) / channel_block : 1;
  const int64_t groups = plane_count(small, lanes) * blocks;
  if (groups == 0) return true;
  const double elements = static_cast<double>(small.batch * small.channels) *
                          static_cast<double>(product(small.size) + product(large.size));
  const int64_t per_task = std::max<int64_t>(
      1, static_cast<int64_t>(32768 / std::max(elements / static_cast<double>(groups), 1.0)));
  std::atomic<bool> good{true};
  parallel_for((groups + per_task - 1) / per_task, elements * kNsPerElement, threads,
               [&](int64_t task, int worker) {
                 for (int64_t g = task * per_task; g < std::min(groups, (task + 1) * per_task); ++g) {
                   const int64_t channel = g % blocks * channel_block;
                   const Group group = {plane_offset(small, lanes, g / blocks) + (lanes ? channel : 0),
                                        plane_offset(large, lanes, g / blocks) + (lanes ? channel : 0),
                                        lanes ? std::min(channel_block, small.channels - channel) : 1};
                   if (!body(worker, group)) good.store(false, std::memory_order_relaxed);
                 }
               });
  return good;
}

[[noreturn]] void refuse_indices(const PoolPositions& p) {
  const int64_t windows = product(p.small.size), positions = product(p.large.size);
  const int64_t count = p.small.batch * p.small.channels * windows;
  int64_t at = 0;  // the first such one
  while (at + 1 < count && p.indices[at] >= 0 && p.indices[at] < positions) ++at;
  throw std::invalid_argument(std::string(p.function) + ": indices.flat[" + std::to_string(at) + "] is " +
                              std::to_string(p.indices[at]) + ", expected a position in the plane, 0 to " +
                              std::to_string(positions - 1));
}

bool in_lanes(const PoolPositions& p) { return p.channels_last && p.small.channels > 1; }

// Copies of single elements, whatever they mean.
template <class Element>
bool copy_by_index(const PoolPositions& p, const Group& g, int64_t pitch, bool scatter) {
  Element* small = static_cast<Element*>(p.small.data) + g.small;
  Element* large = static_cast<Element*>(p.large.data) + g.large;
  const int64_t* indices = p.indices + g.small;
  const int64_t windows = product(p.small.size), positions = product(p.large.size);
  if (scatter) {
    for (int64_t i = 0; i < positions; ++i) {
      std::memset(large + i * pitch, 0, static_cast<std::size_t>(g.channels) * sizeof(Element));
    }
  }
  for (int64_t o = 0; o < windows; ++o) {
    for (int64_t c = 0; c < g.channels; ++c) {
      const int64_t at = indices[o * pitch + c];
      if (at < 0 || at >= positions) return false;
      if (scatter) {
        large[at * pitch + c] = small[o * pitch + c];
      } else {
        small[o * pitch + c] = large[at * pitch + c];
      }
    }
  }
  return true;
}

void copy_all(const PoolPositions& p, bool scatter) {
  const int64_t pitch = p.channels_last ? p.small.channels : 1, item = size_of(p.small.dtype);
  const bool good =
      for_each_group(p.small, p.large, in_lanes(p), 64, num_threads(), [&](int, const Group& g) {
        return item == 8   ? copy_by_index<std::uint64_t>(p, g, pitch, scatter)
               : item == 4 ? copy_by_index<std::uint32_t>(p, g, pitch, scatter)
                           : copy_by_index<std::uint16_t>(p, g, pitch, scatter);
      });
  if (!good) refuse_indices(p);
}

// large = zeros, then small is added where set_places(group, scatter) tells.
template <class SetPlaces>
bool add_values(const ImageView& small, const ImageView& large, bool lanes, const SetPlaces& set_places) {
  constexpr int64_t kChannelBlock = 64;
  const KernelTable& table = active_table();
  const int threads = num_threads();
  const Dtype type = small.dtype;
  const int64_t block = lanes ? std::min(small.channels, kChannelBlock) : 1;
  const int64_t plane_bytes = product(large.size) * size_of(type);
  const int64_t result_bytes = large.batch * large.channels * plane_bytes;
  const int64_t caches = std::max<int64_t>(cpu_features().l3_bytes, 8 << 20);
  const bool stream = !lanes && result_bytes > caches / 2 && plane_bytes <= cpu_features().l2_bytes / 2;
  const bool through_sums = stream || type != compute_dtype(type);
  const int64_t bytes = through_sums ? product(large.size) * block * size_of(compute_dtype(type)) : 0;
  const Buffer scratch(bytes * threads);
  return for_each_group(small, large, lanes, block, threads, [&](int worker, const Group& g) {
    PoolScatter s{};
    s.values = element(small.data, type, g.small);
    set_places(g, &s);
    s.count = product(small.size);
    s.channels = g.channels;
    s.pitch = lanes ? small.channels : 1;
    s.target = element(large.data, type, g.large);
    s.positions = product(large.size);
    s.stream = stream;
    s.scratch = scratch.as<char>() + worker * bytes;
    return table.pool.scatter_add[static_cast<int>(type)](s);
  });
}

// Where taps lie: those of window o at start[o] + offset[tap].
struct TapPositions {
  std::vector<std::int32_t> start;
  std::int32_t offset[kTapsOfByte];
  std::int32_t reach;  // the largest of the offsets

  explicit TapPositions(const PoolProblem& problem) {
    const PoolAxis* axis = problem.axis;
    const auto position = [&](int64_t d, int64_t h, int64_t w) {
      return static_cast<std::int32_t>((d * axis[1].input + h) * axis[2].input + w);
    };
    start.reserve(static_cast<std::size_t>(problem.windows()));
    for (int64_t d = 0; d < axis[0].output; ++d)
      for (int64_t h = 0; h < axis[1].output; ++h)
        for (int64_t w = 0; w < axis[2].output; ++w)
          start.push_back(position(d * axis[0].stride - axis[0].before, h * axis[1].stride - axis[1].before,
                                   w * axis[2].stride - axis[2].before));
    std::int32_t* tap = offset;
    for (int64_t a = 0; a < axis[0].kernel; ++a)
      for (int64_t b = 0; b < axis[1].kernel; ++b)
        for (int64_t t = 0; t < axis[2].kernel; ++t)
          *tap++ = reach = position(a * axis[0].dilation, b * axis[1].dilation, t * axis[2].dilation);
  }
};

}  // namespace

void scatter_values(const PoolPositions& p) { copy_all(p, true); }
void gather_values(const PoolPositions& p) { copy_all(p, false); }

void scatter_sums(const PoolPositions& p) {
  const bool good = add_values(p.small, p.large, in_lanes(p),
                               [&](const Group& g, PoolScatter* s) { s->indices = p.indices + g.small; });
  if (!good) refuse_indices(p);
}

void scatter_taps(const PoolProblem& problem, const ImageView& dy, const std::uint8_t* taps,
                  const ImageView& dx, bool channels_last) {
  const TapPositions positions(problem);
  add_values(dy, dx, channels_last && dy.channels > 1, [&](const Group& g, PoolScatter* s) {
    s->taps = taps + g.small;
    s->start = positions.start.data();
    s->offset = positions.offset;
    s->reach = positions.reach;
  });
}

}  // namespace fastconv::cpu
