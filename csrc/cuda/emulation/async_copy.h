// The twin of async_copy.h. A copy's destination holds NaN patterns from its start to the wait that ends it.
#pragma once

#include <cstring>
#include <stdexcept>

#include "cuda/emulation/async_groups.h"
#include "cuda/emulation/device.h"

namespace fastconv::cuda {
namespace emulation {

struct Copies : AsyncGroups {};

}  // namespace emulation

template <int kBytes>
void copy_async(void* to, const void* from, int valid) {
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16);
  if (valid < 0 || valid > kBytes) throw std::logic_error("cp.async of more bytes than it copies");
  if (reinterpret_cast<std::uintptr_t>(from) % kBytes != 0)
    throw std::logic_error("cp.async from a misaligned address");
  unsigned char* const bytes = emulation::shared_bytes(shared_address(to), kBytes, kBytes);
  std::memset(bytes, emulation::kPoison, kBytes);
  emulation::of_thread<emulation::Copies>().add([=] {
    std::memset(bytes, 0, kBytes);
    if (valid > 0) std::memcpy(bytes, from, static_cast<std::size_t>(valid));
  });
}

inline void commit_copies() { emulation::of_thread<emulation::Copies>().commit(); }

template <int kPending>
void wait_for_copies() {
  emulation::of_thread<emulation::Copies>().wait(kPending);
}

}  // namespace fastconv::cuda
