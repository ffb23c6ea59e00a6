// Memory for results and workspace that keeps its pages. The first touch of fresh memory costs more than the
// arithmetic on it, so freed blocks are kept, bounded, and given out again. Blocks of 2 MiB and more ask for
// huge pages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace fastconv {

struct PoolStatistics {
  std::int64_t bytes_in_use, bytes_cached, blocks_in_use, blocks_cached, limit_bytes, hits, misses;
};

// A block of uninitialised memory, aligned to 64 bytes, that goes back to the pool with its owner.
class Buffer {
 public:
  Buffer() = default;
  // Throws std::bad_alloc where the memory can't be had; nothing is left allocated then.
  explicit Buffer(std::int64_t bytes);
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), capacity_(std::exchange(other.capacity_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(capacity_, other.capacity_);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer();

  void* data() const { return data_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
  std::size_t capacity_ = 0;
};

// Upper bound of the bytes kept for reuse, and of what one block may ask for.
void set_pool_limits(std::int64_t cached_bytes, std::int64_t largest_block);
PoolStatistics pool_statistics();
void clear_pool();  // gives every unused block back to the system

}  // namespace fastconv
