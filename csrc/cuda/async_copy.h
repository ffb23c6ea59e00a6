// cp.async (sm_80): copies from global to shared memory that run beside the thread, in groups that it waits
// for (PTX ISA, "Data Movement and Conversion Instructions: cp.async" and its commit_group and wait_group).
//
// Until a thread has waited for a group, nobody may touch what the group writes; and what a thread has waited
// for is visible to others only behind a barrier.
#pragma once

#include "cuda/device.h"

#ifdef FASTCONV_EMULATED
#include "cuda/emulation/async_copy.h"
#else

namespace fastconv::cuda {

// Copies the first `valid` of kBytes (4, 8 or 16) bytes and writes zeros for the rest; `from` is not read
// where valid is 0. Both ends are aligned to kBytes. Sixteen bytes go past the first cache, as no other
// thread of the block wants them.
template <int kBytes>
FASTCONV_DEVICE void copy_async(void* to, const void* from, int valid) {
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16);
  if constexpr (kBytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)),
                 "l"(__cvta_generic_to_global(from)), "r"(valid)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared_address(to)),
                 "l"(__cvta_generic_to_global(from)), "n"(kBytes), "r"(valid)
                 : "memory");
  }
}

// Ends a group, which may be empty.
FASTCONV_DEVICE void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits for all of the thread's groups but the latest kPending.
template <int kPending>
FASTCONV_DEVICE void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

}  // namespace fastconv::cuda

#endif
