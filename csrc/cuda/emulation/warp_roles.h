// The twin of warp_roles.h.
#pragma once

#include "cuda/emulation/device.h"

namespace fastconv::cuda {

inline bool elected() { return emulation::elected_of_warp(); }
inline void barrier_of(int which, int threads) { emulation::wait_for_group(which, threads); }

template <int kCount>
void keep_registers() {
  static_assert(kCount % 8 == 0 && kCount >= 24 && kCount <= 256);
}
template <int kCount>
void take_registers() {
  static_assert(kCount % 8 == 0 && kCount >= 24 && kCount <= 256);
}

}  // namespace fastconv::cuda
