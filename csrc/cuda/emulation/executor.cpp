#include "cuda/emulation/executor.h"

#include <ucontext.h>

#include <cstring>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace fastconv::cuda::emulation {
namespace {

constexpr std::size_t kStackBytes = 256 << 10;
constexpr unsigned char kPoison = 0xff;  // NaN as float, double, float16 and bfloat16

// Threads that wait until all of them have come.
struct Meeting {
  int members = 0, arrived = 0;
  std::int64_t rounds = 0;
};

struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack{new char[kStackBytes]};
  int index = 0;
  bool ended = false;
};

struct Warp {
  Meeting meeting;
  unsigned char slots[kWarp][kLargestSlot];
};

struct Grid {
  void (*body)(const void*);
  const void* arguments;
  std::int64_t blocks = 0, block = 0;
  std::vector<unsigned char> shared;
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  Meeting meeting;
  bool any = false;
  ucontext_t scheduler;
  Fiber* running = nullptr;
  std::int64_t progress = 0;  // arrivals, ends and yields that found something new
  std::exception_ptr failure;
};

thread_local Grid* grid = nullptr;
thread_local bool downwards = false;

void leave() { swapcontext(&grid->running->context, &grid->scheduler); }

void enter_fiber() {
  Grid* g = grid;
  try {
    g->body(g->arguments);
  } catch (...) {
    if (!g->failure) g->failure = std::current_exception();
  }
  g->running->ended = true;
  ++g->progress;
  swapcontext(&g->running->context, &g->scheduler);
}

void meet(Meeting* m) {
  ++grid->progress;
  const std::int64_t round = m->rounds;
  if (++m->arrived == m->members) {
    m->arrived = 0;
    ++m->rounds;
    return;
  }
  while (m->rounds == round) leave();
}

void run_block(Grid* g) {
  std::memset(g->shared.data(), kPoison, g->shared.size());
  g->meeting = {static_cast<int>(g->fibers.size()), 0, 0};
  for (std::size_t w = 0; w < g->warps.size(); ++w) {
    const auto rest = static_cast<int>(g->fibers.size() - w * kWarp);
    g->warps[w].meeting = {rest < kWarp ? rest : kWarp, 0, 0};
  }
  for (Fiber& f : g->fibers) {
    f.ended = false;
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = f.stack.get();
    f.context.uc_stack.ss_size = kStackBytes;
    f.context.uc_link = nullptr;
    makecontext(&f.context, enter_fiber, 0);
  }
  const std::size_t count = g->fibers.size();
  for (std::size_t live = count; live > 0;) {
    const std::int64_t before = g->progress;
    live = 0;
    for (std::size_t i = 0; i < count; ++i) {
      Fiber& f = g->fibers[downwards ? count - 1 - i : i];
      if (f.ended) continue;
      g->running = &f;
      swapcontext(&g->scheduler, &f.context);
      if (g->failure) std::rethrow_exception(g->failure);
      if (!f.ended) ++live;
    }
    if (live > 0 && g->progress == before)
      throw std::logic_error("threads of block " + std::to_string(g->block) +
                             " wait for each other for ever");
  }
}

}  // namespace

void run_grid(std::int64_t blocks, int threads, std::int64_t shared_bytes, void (*body)(const void*),
              const void* arguments) {
  Grid g;
  g.body = body;
  g.arguments = arguments;
  g.blocks = blocks;
  // Aligned as shared_memory() promises.
  constexpr std::size_t kAlignment = 1024;
  g.shared.resize(static_cast<std::size_t>(shared_bytes) + kAlignment);
  g.fibers.resize(static_cast<std::size_t>(threads));
  for (int i = 0; i < threads; ++i) g.fibers[static_cast<std::size_t>(i)].index = i;
  g.warps.resize(static_cast<std::size_t>((threads + kWarp - 1) / kWarp));
  Grid* const outer = grid;
  grid = &g;
  try {
    for (g.block = 0; g.block < blocks; ++g.block) run_block(&g);
  } catch (...) {
    grid = outer;
    throw;
  }
  grid = outer;
  downwards = !downwards;
}

int thread() { return grid->running->index; }
std::int64_t block() { return grid->block; }
std::int64_t blocks() { return grid->blocks; }

void* shared() {
  constexpr std::uintptr_t kAlignment = 1024;
  const auto at = reinterpret_cast<std::uintptr_t>(grid->shared.data());
  return reinterpret_cast<void*>((at + kAlignment - 1) / kAlignment * kAlignment);
}

void wait_for_block() { meet(&grid->meeting); }
void wait_for_warp() { meet(&grid->warps[static_cast<std::size_t>(thread() / kWarp)].meeting); }
void yield() { leave(); }

const void* publish(const void* value, std::size_t bytes, int from) {
  Warp& warp = grid->warps[static_cast<std::size_t>(thread() / kWarp)];
  if (bytes > kLargestSlot) throw std::logic_error("a lane publishes more than a slot holds");
  std::memcpy(warp.slots[thread() % kWarp], value, bytes);
  wait_for_warp();
  return warp.slots[from];
}

bool any_in_block(bool predicate) {
  wait_for_block();  // until nobody reads the last one's answer
  grid->any = false;
  wait_for_block();
  grid->any = grid->any || predicate;
  wait_for_block();
  return grid->any;
}

}  // namespace fastconv::cuda::emulation
