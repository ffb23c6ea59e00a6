#include "cpu/worker_place.h"

#include <cstddef>

namespace fastconv::cpu {

void WorkerPlace::keep_off(int cpu) {
  if (cpu == kept_off_ || cpu < 0 || cpu >= CPU_SETSIZE) return;
  cpu_set_t now;
  if (pthread_getaffinity_np(worker_, sizeof now, &now) != 0) return;
  if (kept_off_ < 0 || !CPU_EQUAL(&now, &confined_)) home_ = now;
  confined_ = home_;
  CPU_CLR(static_cast<std::size_t>(cpu), &confined_);
  if (CPU_COUNT(&confined_) == 0) confined_ = home_;
  if (pthread_setaffinity_np(worker_, sizeof confined_, &confined_) == 0) kept_off_ = cpu;
}

}  // namespace fastconv::cpu
