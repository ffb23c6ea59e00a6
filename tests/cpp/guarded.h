// Memory that ends exactly where a page without access begins: one element too far is a crash, not a wrong
// value.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <new>

namespace fastconv::test {

class Guarded {
 public:
  explicit Guarded(std::size_t bytes) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    inner_ = (bytes + page - 1) / page * page;
    mapped_ = inner_ + page;
    void* base = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) throw std::bad_alloc();
    base_ = static_cast<char*>(base);
    mprotect(base_ + inner_, page, PROT_NONE);
  }
  ~Guarded() { munmap(base_, mapped_); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  // The last `count` elements before the end.
  template <class T>
  T* last(int count) const {
    return reinterpret_cast<T*>(base_ + inner_) - count;
  }

 private:
  char* base_;
  std::size_t inner_, mapped_;
};

}  // namespace fastconv::test
