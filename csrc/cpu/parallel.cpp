#include "cpu/parallel.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>

#include "cpu/cpu_features.h"
#include "cpu/worker_place.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace fastconv::cpu {
namespace {

constexpr double kWakeWorthNs = 20e3;  // below this much work, waking a thread costs more than it gains
constexpr int kSpins = 4000;  // looks for the next job before a worker goes to sleep, about 20 microseconds

#if defined(__x86_64__)
class FlushDenormals {
 public:
  FlushDenormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8040); }
  ~FlushDenormals() { _mm_setcsr(saved_); }

 private:
  unsigned saved_;
};
void relax() { _mm_pause(); }
#elif defined(__aarch64__)
class FlushDenormals {
 public:
  FlushDenormals() {
    __asm__ volatile("mrs %0, fpcr" : "=r"(saved_));
    __asm__ volatile("msr fpcr, %0" : : "r"(saved_ | (1ull << 24)));
  }
  ~FlushDenormals() { __asm__ volatile("msr fpcr, %0" : : "r"(saved_)); }

 private:
  std::uint64_t saved_;
};
void relax() { __asm__ volatile("yield"); }
#else
struct FlushDenormals {};
void relax() {}
#endif

struct Job {
  std::int64_t count;
  detail::TaskFunction call;
  const void* body;
  std::atomic<std::int64_t> next{0};
  std::mutex failure_lock;
  std::exception_ptr failure;

  void work(int worker) {
    [[maybe_unused]] const FlushDenormals flush;
    for (std::int64_t task; (task = next.fetch_add(1, std::memory_order_relaxed)) < count;) {
      try {
        call(body, task, worker);
      } catch (...) {
        const std::lock_guard<std::mutex> hold(failure_lock);
        if (!failure) failure = std::current_exception();
      }
    }
  }
};

// One job at a time; a caller who finds the pool taken does its work alone. Workers are detached and never
// end: the pool is never destroyed, and a forked child, which has none of the threads, starts a new one.
class ThreadPool {
 public:
  void run(Job* job, int helpers) {
    if (helpers == 0 || taken_.exchange(true, std::memory_order_acquire)) {
      job->work(0);
      return;
    }
    helpers = grow(helpers);
    {
      const std::lock_guard<std::mutex> hold(lock_);
      const int here = sched_getcpu();
      for (int i = 0; i < helpers; ++i)
        if (places_[i]) places_[i]->keep_off(here);
      job_ = job;
      helpers_ = helpers;
      generation_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    job->work(0);
    {
      const std::lock_guard<std::mutex> hold(lock_);
      job_ = nullptr;  // who has not joined by now is not waited for
    }
    for (int i = 0; at_work_.load(std::memory_order_acquire) != 0; ++i)
      i < kSpins ? relax() : std::this_thread::yield();
    taken_.store(false, std::memory_order_release);
  }

 private:
  int grow(int wanted) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);  // signals belong to the threads of the application
    try {
      for (; size_ < wanted; ++size_) {
        const std::uint64_t seen = generation_.load(std::memory_order_relaxed);
        std::thread([this, index = size_, seen] { serve(index, seen); }).detach();
      }
    } catch (const std::system_error&) {  // no more threads to be had: go on with those there are
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return std::min(wanted, size_);
  }

  [[noreturn]] void serve(int index, std::uint64_t seen) {
    WorkerPlace place;
    {
      const std::lock_guard<std::mutex> hold(lock_);
      places_[index] = &place;
    }
    for (;;) {
      for (int i = 0; i < kSpins && generation_.load(std::memory_order_acquire) == seen; ++i) relax();
      Job* job = nullptr;
      {
        std::unique_lock<std::mutex> hold(lock_);
        wake_.wait(hold, [&] { return generation_.load(std::memory_order_relaxed) != seen; });
        seen = generation_.load(std::memory_order_relaxed);
        if (index < helpers_) job = job_;
        if (job) at_work_.fetch_add(1, std::memory_order_relaxed);
      }
      if (!job) continue;
      job->work(index + 1);
      at_work_.fetch_sub(1, std::memory_order_release);
    }
  }

  std::atomic<bool> taken_{false};
  std::atomic<int> at_work_{0};
  std::atomic<std::uint64_t> generation_{0};
  std::mutex lock_;
  std::condition_variable wake_;
  Job* job_ = nullptr;
  int helpers_ = 0;
  int size_ = 0;
  WorkerPlace* places_[kMostThreads] = {};  // of the workers that have begun
};

// Made when the library is loaded, not at the first call: a child forked while another thread was still in
// that call would wait for it for ever. The pool of a child replaces its parent's, whose locks may be held
// for good.
std::atomic<ThreadPool*> pool{new ThreadPool};
[[maybe_unused]] const int fork_handlers =
    pthread_atfork(nullptr, nullptr, [] { pool.store(new ThreadPool); });

int default_threads() {
  if (const char* text = std::getenv("OMP_NUM_THREADS")) {
    const int count = std::atoi(text);
    if (count >= 1) return std::min(count, kMostThreads);
  }
  return usable_cpus();
}

std::atomic<int> thread_count{default_threads()};
thread_local std::optional<int> held_thread_count;

void require_thread_count(const char* function, int count) {
  if (count < 1 || count > kMostThreads) {
    throw std::invalid_argument(std::string(function) + ": got " + std::to_string(count) +
                                ", expected 1 to " + std::to_string(kMostThreads));
  }
}

}  // namespace

int num_threads() { return held_thread_count ? *held_thread_count : thread_count.load(); }

void set_num_threads(int count) {
  require_thread_count("set_num_threads", count);
  thread_count.store(count);
}

void hold_num_threads(std::optional<int> count) {
  if (count) require_thread_count("threads", *count);
  held_thread_count = count;
}

void detail::run_tasks(std::int64_t count, double work_ns, int threads, TaskFunction call, const void* body) {
  if (count <= 0) return;
  Job job;
  job.count = count;
  job.call = call;
  job.body = body;
  const bool alone = work_ns < kWakeWorthNs;
  const int helpers = alone ? 0 : static_cast<int>(std::min<std::int64_t>(threads, count)) - 1;
  if (helpers == 0) {
    job.work(0);
  } else {
    pool.load()->run(&job, helpers);
  }
  if (job.failure) std::rethrow_exception(job.failure);
}

}  // namespace fastconv::cpu
