// mbarrier (sm_90): a barrier in shared memory, on which threads and asynchronous copies arrive (PTX ISA,
// "Parallel Synchronization and Communication Instructions: mbarrier").
//
// Its phases are counted from 0. A phase ends when as many threads have arrived as init_mbarrier said, and
// all bytes came that they told it to expect. Waiting is for the end of the phase of a parity: of the present
// phase or the one before; so a new barrier is past "parity 1".
#pragma once

#include "cuda/device.h"

namespace fastconv::cuda {

using Mbarrier = std::uint64_t;  // in shared memory

}  // namespace fastconv::cuda

#ifdef FASTCONV_EMULATED
#include "cuda/emulation/mbarrier.h"
#else

namespace fastconv::cuda {

FASTCONV_DEVICE void init_mbarrier(Mbarrier* b, int arrivals) {
  asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(shared_address(b)), "r"(arrivals) : "memory");
}

// By the thread that initialised barriers, before the block's barrier() that lets others use them.
FASTCONV_DEVICE void publish_mbarriers() {
#if __CUDA_ARCH__ >= 900
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async;" ::: "memory");
#endif
}

FASTCONV_DEVICE void arrive(Mbarrier* b) {
  asm volatile("{\n.reg .b64 state;\nmbarrier.arrive.shared.b64 state, [%0];\n}" ::"r"(shared_address(b))
               : "memory");
}

// Arrives, and lets the phase wait for so many more bytes of copies.
FASTCONV_DEVICE void arrive_expecting(Mbarrier* b, int bytes) {
#if __CUDA_ARCH__ >= 900
  asm volatile("{\n.reg .b64 state;\nmbarrier.arrive.expect_tx.shared::cta.b64 state, [%0], %1;\n}" ::"r"(
                   shared_address(b)),
               "r"(bytes)
               : "memory");
#endif
}

// Sees what others did before they arrived, and what the phase's copies brought.
FASTCONV_DEVICE void wait_for_phase(Mbarrier* b, int parity) {
#if __CUDA_ARCH__ >= 900
  unsigned ended;
  do {
    asm volatile(
        "{\n.reg .pred ended;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 ended, [%1], %2;\n"
        "selp.u32 %0, 1, 0, ended;\n}"
        : "=r"(ended)
        : "r"(shared_address(b)), "r"(parity)
        : "memory");
  } while (ended == 0);
#else
  __trap();  // a kernel for sm_90 runs elsewhere
#endif
}

}  // namespace fastconv::cuda

#endif
