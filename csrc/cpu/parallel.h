// The one place that knows of threads. A small pool of our own rather than OpenMP: it lives through fork(),
// brings no second runtime into a process that already has one, and lets many callers in at once.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <type_traits>

namespace fastconv::cpu {

// Threads that a call may use, the caller's own included. Default: OMP_NUM_THREADS, else usable_cpus().
constexpr int kMostThreads = 1024;
int num_threads();
void set_num_threads(int count);  // throws std::invalid_argument below 1 or above kMostThreads

// The same for calls from this thread alone, whatever holds for the process; nothing takes that back.
void hold_num_threads(std::optional<int> count);  // throws as set_num_threads does

namespace detail {
using TaskFunction = void (*)(const void* body, std::int64_t task, int worker);
void run_tasks(std::int64_t count, double work_ns, int threads, TaskFunction call, const void* body);
}  // namespace detail

constexpr std::int64_t kTasksPerThread = 4;  // so that an uneven machine still finishes together

// Neighbours among `parts` that a task takes at once, at most `most`, where many tasks share tables.
inline std::int64_t parts_of_task(std::int64_t parts, int threads, std::int64_t most) {
  return std::clamp<std::int64_t>(parts / (kTasksPerThread * threads), 1, std::max<std::int64_t>(most, 1));
}

// Calls body(task, worker) once for each task in [0, count), on up to `threads` threads, and returns when all
// are done. worker < threads tells concurrent calls apart (for scratch memory). Tasks are handed out one by
// one in order; what a task computes must not depend on its worker. work_ns estimates the time of all tasks
// on one thread: small work stays on the caller's thread. While tasks run, denormals are flushed to zero; the
// caller's floating-point state comes back. The first exception of a task is rethrown here, after the other
// tasks.
template <class Body>
void parallel_for(std::int64_t count, double work_ns, int threads, const Body& body) {
  detail::run_tasks(
      count, work_ns, threads,
      [](const void* b, std::int64_t task, int worker) { (*static_cast<const Body*>(b))(task, worker); },
      &body);
}

}  // namespace fastconv::cpu
