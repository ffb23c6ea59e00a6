// What blocks need whose warps have different work: a warp's one lane that speaks for it, barriers of some
// warps, and registers that one warpgroup (four warps, the first a multiple of four) leaves to another.
#pragma once

#include "cuda/device.h"

namespace fastconv::cuda {

constexpr int kWarpgroup = 4 * kWarp;

}  // namespace fastconv::cuda

#ifdef FASTCONV_EMULATED
#include "cuda/emulation/warp_roles.h"
#else

namespace fastconv::cuda {

// True for one lane, no matter which, of a warp whose lanes all ask (PTX ISA, "elect.sync"; sm_90).
FASTCONV_DEVICE bool elected() {
  unsigned chosen = 0;
#if __CUDA_ARCH__ >= 900
  asm volatile(
      "{\n.reg .pred chosen;\n"
      "elect.sync _|chosen, 0xffffffff;\n"
      "selp.u32 %0, 1, 0, chosen;\n}"
      : "=r"(chosen));
#endif
  return chosen != 0;
}

// barrier() for `threads` threads of whole warps, who agree on one of the barriers 1 to 15 (PTX ISA,
// "bar.sync").
FASTCONV_DEVICE void barrier_of(int which, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(which), "r"(threads) : "memory");
}

// A thread of the warpgroup, all of which call this, has at most so many registers from here on: a multiple
// of 8 from 24 to 256 (PTX ISA, "setmaxnreg"; sm_90a). keep_registers gives the others back to the block, and
// take_registers waits until there are enough. The kernel has a kResidentBlocks, else the compiler ignores
// both.
template <int kCount>
FASTCONV_DEVICE void keep_registers() {
  static_assert(kCount % 8 == 0 && kCount >= 24 && kCount <= 256);
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCount));
#endif
}
template <int kCount>
FASTCONV_DEVICE void take_registers() {
  static_assert(kCount % 8 == 0 && kCount >= 24 && kCount <= 256);
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kCount));
#endif
}

}  // namespace fastconv::cuda

#endif
