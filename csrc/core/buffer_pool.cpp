#include "core/buffer_pool.h"

#include <sys/mman.h>

#include <cstdlib>
#include <map>
#include <new>

#include "core/fork_mutex.h"

namespace fastconv {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kMostBlocks = 512;

// Eight sizes to each power of two, so that blocks of nearly equal tensors can serve each other; whole huge
// pages above.
std::size_t round_up(std::size_t bytes) {
  std::size_t step = 64;
  while (step * 16 < bytes) step *= 2;
  if (bytes >= kHugePage && step < kHugePage) step = kHugePage;
  return (bytes + step - 1) / step * step;
}

void* allocate(std::size_t bytes) {
  if (bytes < kHugePage) return std::aligned_alloc(64, bytes);
  // A huge page more than asked for, then trimmed to a huge page's boundary on both sides.
  const std::size_t mapped = bytes + kHugePage;
  void* raw = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (raw == MAP_FAILED) return nullptr;
  const auto start = reinterpret_cast<std::uintptr_t>(raw);
  const std::uintptr_t aligned = (start + kHugePage - 1) / kHugePage * kHugePage;
  if (aligned > start) munmap(raw, aligned - start);
  const std::uintptr_t end = aligned + bytes;
  if (start + mapped > end) munmap(reinterpret_cast<void*>(end), start + mapped - end);
  madvise(reinterpret_cast<void*>(aligned), bytes, MADV_HUGEPAGE);
  return reinterpret_cast<void*>(aligned);
}

void release(void* data, std::size_t bytes) {
  if (bytes < kHugePage) {
    std::free(data);
  } else {
    munmap(data, bytes);
  }
}

class BufferPool {
 public:
  void* take(std::size_t bytes) {
    const std::lock_guard<std::mutex> hold(lock_);
    const auto it = free_.lower_bound(bytes);
    void* data = nullptr;
    if (it != free_.end() && it->first == bytes) {
      data = it->second.data;
      stats_.bytes_cached -= static_cast<std::int64_t>(bytes);
      free_.erase(it);
      ++stats_.hits;
    } else {
      ++stats_.misses;
      data = allocate(bytes);
      if (!data) {
        drop_all();
        data = allocate(bytes);
      }
      if (!data) return nullptr;
    }
    stats_.bytes_in_use += static_cast<std::int64_t>(bytes);
    ++stats_.blocks_in_use;
    return data;
  }

  void give(void* data, std::size_t bytes) {
    const std::lock_guard<std::mutex> hold(lock_);
    stats_.bytes_in_use -= static_cast<std::int64_t>(bytes);
    --stats_.blocks_in_use;
    free_.insert({bytes, {data, ++clock_}});
    stats_.bytes_cached += static_cast<std::int64_t>(bytes);
    while (stats_.bytes_cached > limit_ || free_.size() > kMostBlocks) drop_oldest();
  }

  void set_limits(std::int64_t cached, std::int64_t largest) {
    const std::lock_guard<std::mutex> hold(lock_);
    limit_ = cached;
    largest_ = largest;
    while (stats_.bytes_cached > limit_) drop_oldest();
  }
  std::int64_t largest() {
    const std::lock_guard<std::mutex> hold(lock_);
    return largest_;
  }
  PoolStatistics statistics() {
    const std::lock_guard<std::mutex> hold(lock_);
    PoolStatistics s = stats_;
    s.blocks_cached = static_cast<std::int64_t>(free_.size());
    s.limit_bytes = limit_;
    return s;
  }
  void clear() {
    const std::lock_guard<std::mutex> hold(lock_);
    drop_all();
  }

 private:
  struct Block {
    void* data;
    std::uint64_t freed_at;
  };

  void drop(std::multimap<std::size_t, Block>::iterator it) {
    release(it->second.data, it->first);
    stats_.bytes_cached -= static_cast<std::int64_t>(it->first);
    free_.erase(it);
  }
  void drop_oldest() {
    auto oldest = free_.begin();
    for (auto it = free_.begin(); it != free_.end(); ++it)
      if (it->second.freed_at < oldest->second.freed_at) oldest = it;
    drop(oldest);
  }
  void drop_all() {
    while (!free_.empty()) drop(free_.begin());
  }

  std::mutex& lock_ = make_fork_mutex();
  std::multimap<std::size_t, Block> free_;
  std::uint64_t clock_ = 0;
  std::int64_t limit_ = std::int64_t{1} << 30;
  std::int64_t largest_ = std::int64_t{1} << 62;
  PoolStatistics stats_{};
};

// Never destroyed: arrays that outlive the module's teardown still give their blocks back.
BufferPool& pool = *new BufferPool;

}  // namespace

Buffer::Buffer(std::int64_t bytes) {
  if (bytes < 0 || bytes > pool.largest()) throw std::bad_alloc();
  capacity_ = round_up(bytes > 0 ? static_cast<std::size_t>(bytes) : 1);
  data_ = pool.take(capacity_);
  if (!data_) throw std::bad_alloc();
}

Buffer::~Buffer() {
  if (data_) pool.give(data_, capacity_);
}

void set_pool_limits(std::int64_t cached_bytes, std::int64_t largest_block) {
  pool.set_limits(cached_bytes, largest_block);
}
PoolStatistics pool_statistics() { return pool.statistics(); }
void clear_pool() { pool.clear(); }

}  // namespace fastconv
