#include <algorithm>
#include <atomic>
#include <cstring>
#include <stdexcept>
#include <string>

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

// Calls body(worker, group) -> bool for all planes, and throws where one of them met an index that is none.
template <class Body>
void for_each_group(const PoolPositions& p, int64_t channel_block, int threads, const Body& body) {
  const bool lanes = p.channels_last && p.small.channels > 1;
  const int64_t blocks = lanes ? (p.small.channels + channel_block - 1) / channel_block : 1;
  const int64_t windows = product(p.small.size), positions = product(p.large.size);
  const int64_t groups = plane_count(p.small, lanes) * blocks;
  if (groups == 0) return;
  const double elements =
      static_cast<double>(p.small.batch * p.small.channels) * static_cast<double>(windows + positions);
  const int64_t per_task = std::max<int64_t>(
      1, static_cast<int64_t>(32768 / std::max(elements / static_cast<double>(groups), 1.0)));
  std::atomic<bool> good{true};
  parallel_for((groups + per_task - 1) / per_task, elements * kNsPerElement, threads,
               [&](int64_t task, int worker) {
                 for (int64_t g = task * per_task; g < std::min(groups, (task + 1) * per_task); ++g) {
                   const int64_t channel = g % blocks * channel_block;
                   const Group group = {plane_offset(p.small, lanes, g / blocks) + (lanes ? channel : 0),
                                        plane_offset(p.large, lanes, g / blocks) + (lanes ? channel : 0),
                                        lanes ? std::min(channel_block, p.small.channels - channel) : 1};
                   if (!body(worker, group)) good.store(false, std::memory_order_relaxed);
                 }
               });
  if (!good) {
    const int64_t count = p.small.batch * p.small.channels * windows;
    int64_t at = 0;  // the first such one
    while (at + 1 < count && p.indices[at] >= 0 && p.indices[at] < positions) ++at;
    throw std::invalid_argument(std::string(p.function) + ": indices.flat[" + std::to_string(at) + "] is " +
                                std::to_string(p.indices[at]) + ", expected a position in the plane, 0 to " +
                                std::to_string(positions - 1));
  }
}

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
  for_each_group(p, 64, num_threads(), [&](int, const Group& g) {
    return item == 8   ? copy_by_index<std::uint64_t>(p, g, pitch, scatter)
           : item == 4 ? copy_by_index<std::uint32_t>(p, g, pitch, scatter)
                       : copy_by_index<std::uint16_t>(p, g, pitch, scatter);
  });
}

}  // namespace

void scatter_values(const PoolPositions& p) { copy_all(p, true); }
void gather_values(const PoolPositions& p) { copy_all(p, false); }

void scatter_sums(const PoolPositions& p) {
  constexpr int64_t kChannelBlock = 64;
  const KernelTable& table = active_table();
  const int threads = num_threads();
  const Dtype type = p.small.dtype;
  const bool lanes = p.channels_last && p.small.channels > 1;
  const int64_t block = lanes ? std::min(p.small.channels, kChannelBlock) : 1;
  const int64_t plane_bytes = product(p.large.size) * size_of(type);
  const int64_t result_bytes = p.large.batch * p.large.channels * plane_bytes;
  const int64_t caches = std::max<int64_t>(cpu_features().l3_bytes, 8 << 20);
  const bool stream = !lanes && result_bytes > caches / 2 && plane_bytes <= cpu_features().l2_bytes / 2;
  const bool through_sums = stream || type != compute_dtype(type);
  const int64_t bytes = through_sums ? product(p.large.size) * block * size_of(compute_dtype(type)) : 0;
  const Buffer scratch(bytes * threads);
  for_each_group(p, block, threads, [&](int worker, const Group& g) {
    PoolScatter s;
    s.values = element(p.small.data, type, g.small);
    s.indices = p.indices + g.small;
    s.count = product(p.small.size);
    s.channels = g.channels;
    s.pitch = lanes ? p.small.channels : 1;
    s.target = element(p.large.data, type, g.large);
    s.positions = product(p.large.size);
    s.stream = stream;
    s.scratch = scratch.as<char>() + worker * bytes;
    return table.pool.scatter_add[static_cast<int>(type)](s);
  });
}

}  // namespace fastconv::cpu
