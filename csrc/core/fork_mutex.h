// Mutexes that a forked child finds free.
#pragma once

#include <mutex>

namespace fastconv {

// A new mutex, never destroyed: fork() waits until no thread holds it, so that the child's copy is free and
// what it guards is whole. Call it while the library is loaded: a child forked while another thread made the
// mutex in its first call would wait for that thread for ever. No thread may hold two of them.
std::mutex& make_fork_mutex();

}  // namespace fastconv
