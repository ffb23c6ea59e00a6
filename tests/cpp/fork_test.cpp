// A forked child has one thread and the parent's memory: the thread pool must start anew there, and the
// buffer pool's lock must be free.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "check.h"
#include "core/buffer_pool.h"
#include "cpu/parallel.h"

namespace fastconv::test {
namespace {

constexpr int kTasks = 500;

bool tasks_run_once() {
  std::vector<std::atomic<int>> seen(kTasks);
  cpu::parallel_for(kTasks, 1e9, 4,
                    [&](std::int64_t task, int) { seen[static_cast<std::size_t>(task)].fetch_add(1); });
  for (const auto& n : seen)
    if (n.load() != 1) return false;
  return true;
}

bool buffers_serve() {
  Buffer a(5000), b(5000);
  a.as<char>()[4999] = 1;
  b.as<char>()[4999] = 2;
  return a.as<char>()[4999] == 1 && pool_statistics().blocks_in_use >= 2;
}

// Forks, and says whether the child could work; a child that hangs is killed and counts as a failure.
bool child_works() {
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    _exit(tasks_run_once() && buffers_serve() ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace
}  // namespace fastconv::test

int main() {
  using namespace fastconv::test;
  CHECK(child_works(), "before the first thread was started");
  CHECK(tasks_run_once(), "the parent");
  for (int round = 0; round < 3; ++round) {
    CHECK(child_works(), "beside sleeping workers");
    CHECK(tasks_run_once(), "the parent afterwards");
  }
  std::atomic<bool> stop{false};
  std::vector<std::thread> busy;
  for (int i = 0; i < 3; ++i)
    busy.emplace_back([&] {
      while (!stop) {
        tasks_run_once();
        buffers_serve();
      }
    });
  for (int round = 0; round < 10; ++round) CHECK(child_works(), "while other threads use both pools");
  stop = true;
  for (auto& t : busy) t.join();
  return finish("fork");
}
