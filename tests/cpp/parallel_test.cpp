// parallel_for: every task once, workers told apart, exceptions, nesting, many callers, denormals, CPUs.
#include "cpu/parallel.h"

#include <atomic>
#include <limits>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "cpu/worker_place.h"

namespace fastconv::test {
namespace {

using cpu::parallel_for;
using std::int64_t;

constexpr double kMuchWork = 1e9, kLittleWork = 1.0;  // nanoseconds

std::vector<std::atomic<int>> counted(int64_t count) {
  return std::vector<std::atomic<int>>(static_cast<std::size_t>(count));
}

bool all_are(const std::vector<std::atomic<int>>& seen, int expected) {
  for (const auto& n : seen)
    if (n.load() != expected) return false;
  return true;
}

void check_each_task_runs_once() {
  for (const int64_t count : {0, 1, 2, 3, 7, 100, 10000})
    for (const int threads : {1, 2, 3, 8})
      for (const double work : {kLittleWork, kMuchWork}) {
        auto seen = counted(count);
        std::atomic<bool> worker_in_range{true};
        parallel_for(count, work, threads, [&](int64_t task, int worker) {
          seen[static_cast<std::size_t>(task)].fetch_add(1);
          if (worker < 0 || worker >= threads) worker_in_range = false;
        });
        CHECK(all_are(seen, 1), "count %lld threads %d", static_cast<long long>(count), threads);
        CHECK(worker_in_range, "count %lld threads %d", static_cast<long long>(count), threads);
      }
}

// Scratch memory is chosen by worker: no two tasks may hold the same one at a time.
void check_workers_are_exclusive() {
  constexpr int kThreads = 4;
  std::atomic<int> inside[kThreads] = {};
  std::atomic<bool> exclusive{true};
  for (int round = 0; round < 50; ++round) {
    parallel_for(64, kMuchWork, kThreads, [&](int64_t, int worker) {
      if (inside[worker].fetch_add(1) != 0) exclusive = false;
      for (volatile int i = 0; i < 200; i = i + 1) {
      }
      inside[worker].fetch_sub(1);
    });
  }
  CHECK(exclusive, "two tasks shared a worker's number");
}

void check_little_work_stays_here() {
  const auto here = std::this_thread::get_id();
  std::atomic<bool> stayed{true};
  parallel_for(100, kLittleWork, 8,
               [&](int64_t, int) { stayed = stayed && std::this_thread::get_id() == here; });
  CHECK(stayed, "a thread was woken for a nanosecond of work");
}

void check_exceptions() {
  for (const int threads : {1, 4}) {
    auto seen = counted(200);
    bool caught = false;
    try {
      parallel_for(200, kMuchWork, threads, [&](int64_t task, int) {
        seen[static_cast<std::size_t>(task)].fetch_add(1);
        if (task % 50 == 3) throw std::runtime_error("task");
      });
    } catch (const std::runtime_error& e) {
      caught = std::string(e.what()) == "task";
    }
    CHECK(caught, "threads %d", threads);
    CHECK(all_are(seen, 1), "the other tasks still run, threads %d", threads);
  }
}

void check_nested_calls() {
  auto seen = counted(8 * 16);
  parallel_for(8, kMuchWork, 4, [&](int64_t outer, int) {
    parallel_for(16, kMuchWork, 4, [&](int64_t inner, int) {
      seen[static_cast<std::size_t>(outer * 16 + inner)].fetch_add(1);
    });
  });
  CHECK(all_are(seen, 1), "nested tasks");
}

void check_many_callers() {
  constexpr int kCallers = 8, kRounds = 50, kTasks = 40;
  auto seen = counted(kCallers * kTasks);
  std::vector<std::thread> callers;
  for (int caller = 0; caller < kCallers; ++caller)
    callers.emplace_back([&seen, caller] {
      for (int round = 0; round < kRounds; ++round)
        parallel_for(kTasks, kMuchWork, 4, [&](int64_t task, int) {
          seen[static_cast<std::size_t>(caller * kTasks + task)].fetch_add(1);
        });
    });
  for (auto& t : callers) t.join();
  CHECK(all_are(seen, kRounds), "eight callers at once");
}

// Half of the smallest normal number: zero where denormals are flushed.
float half_of_smallest() {
  volatile float smallest = std::numeric_limits<float>::min(), half = 0.5f;
  return smallest * half;
}

void check_denormals() {
  std::atomic<int> kept{0};
  parallel_for(64, kMuchWork, 4, [&](int64_t, int) { kept += half_of_smallest() != 0; });
#if defined(__x86_64__) || defined(__aarch64__)
  CHECK(kept == 0, "%d tasks saw denormals", kept.load());
#endif
  CHECK(half_of_smallest() != 0, "the caller's state came back");
  try {
    parallel_for(4, kMuchWork, 2, [](int64_t, int) { throw 1; });
  } catch (int) {
  }
  CHECK(half_of_smallest() != 0, "the caller's state came back after an exception");
}

void check_thread_count() {
  const int before = cpu::num_threads();
  CHECK(before >= 1, "%d threads", before);
  for (const int bad : {0, -1, 1025}) {
    bool refused = false;
    try {
      cpu::set_num_threads(bad);
    } catch (const std::invalid_argument&) {
      refused = true;
    }
    CHECK(refused && cpu::num_threads() == before, "set_num_threads(%d)", bad);
  }
  cpu::set_num_threads(3);
  CHECK(cpu::num_threads() == 3, "set_num_threads(3)");
  cpu::set_num_threads(before);
}

cpu_set_t own_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  pthread_getaffinity_np(pthread_self(), sizeof set, &set);
  return set;
}

cpu_set_t without(cpu_set_t set, int cpu) {
  CPU_CLR(static_cast<std::size_t>(cpu), &set);
  return set;
}

// In a thread of its own, as each place is its thread's.
void check_places() {
  std::thread([] {
    cpu::WorkerPlace place;
    const cpu_set_t home = own_cpus();
    std::vector<int> cpus;
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
      if (CPU_ISSET(static_cast<std::size_t>(cpu), &home)) cpus.push_back(cpu);
    const auto runs_on = [](const cpu_set_t& expected) {
      const cpu_set_t now = own_cpus();
      return CPU_EQUAL(&now, &expected) != 0;
    };
    place.keep_off(-1);
    place.keep_off(CPU_SETSIZE);
    CHECK(runs_on(home), "a CPU that can't be named took others away");
    const int first = cpus.front(), last = cpus.back();
    place.keep_off(first);
    CHECK(runs_on(first == last ? home : without(home, first)), "not kept off CPU %d", first);
    place.keep_off(last);
    CHECK(runs_on(first == last ? home : without(home, last)), "not kept off CPU %d, or off two", last);

    place.keep_off(first);

    // Somebody else's wish, which leaves no other CPU.
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<std::size_t>(first), &one);
    CHECK(pthread_setaffinity_np(pthread_self(), sizeof one, &one) == 0, "can't choose CPU %d", first);
    for (const int cpu : {last, first}) {
      place.keep_off(cpu);
      CHECK(runs_on(one), "driven from the only CPU that it may use");
    }
  }).join();
}

}  // namespace
}  // namespace fastconv::test

int main() {
  using namespace fastconv::test;
  check_thread_count();
  check_each_task_runs_once();
  check_workers_are_exclusive();
  check_little_work_stays_here();
  check_exceptions();
  check_nested_calls();
  check_many_callers();
  check_denormals();
  check_places();
  return finish("parallel_for");
}
