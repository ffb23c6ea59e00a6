#include "core/fork_mutex.h"

#include <pthread.h>

#include <vector>

namespace fastconv {
namespace {

std::vector<std::mutex*>& all_mutexes() {
  static auto& mutexes = *new std::vector<std::mutex*>;
  return mutexes;
}

void lock_all() {
  for (std::mutex* m : all_mutexes()) m->lock();
}
void unlock_all() {
  for (std::mutex* m : all_mutexes()) m->unlock();
}

}  // namespace

std::mutex& make_fork_mutex() {
  if (all_mutexes().empty()) pthread_atfork(lock_all, unlock_all, unlock_all);
  all_mutexes().push_back(new std::mutex);
  return *all_mutexes().back();
}

}  // namespace fastconv
