// Where a worker wakes up. Left to itself the kernel often wakes it on the CPU of the thread that called it,
// or where the two last met: with few, busy CPUs it hardly looks for an idle one. The worker then waits until
// the caller is through, call after call, while the other CPU idles.
#pragma once

#include <pthread.h>
#include <sched.h>

namespace fastconv::cpu {

// One worker's, made by itself.
class WorkerPlace {
 public:
  // From now on the worker runs on any other CPU that it may run on, if there is one. `cpu`: -1 or more.
  void keep_off(int cpu);

 private:
  const pthread_t worker_ = pthread_self();
  int kept_off_ = -1;
  cpu_set_t home_, confined_;  // as somebody else wants it; without the CPU that it is kept off
};

}  // namespace fastconv::cpu
