#include "cuda/emulation/executor.h"

#include <setjmp.h>
#include <ucontext.h>

#include <cstring>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace fastconv::cuda::emulation {
namespace {

constexpr std::size_t kStackBytes = 256 << 10;
constexpr std::size_t kSharedAlignment = 1024;  // as shared_memory() promises

// Threads that wait until all of them have come.
struct Meeting {
  int members = 0, arrived = 0;
  std::int64_t rounds = 0;
};

// A context begins a fiber; from then on it is left and entered by jumps, which make no system call.
struct Fiber {
  ucontext_t context;
  jmp_buf place;
  bool begun = false;
  std::unique_ptr<char[]> stack{new char[kStackBytes]};
  int index = 0;
  bool ended = false;
  int turn = 0;  // which of its warp's two sets of slots holds what it published last
  States states;
};

// Two sets of slots, written by turns: a lane that publishes again can't overtake one that still reads.
struct Warp {
  Meeting meeting;
  unsigned char slots[2][kWarp][kLargestSlot];
};

struct Deferred {
  const void* barrier;
  std::function<void()> work;
};

struct Grid {
  void (*body)(const void*);
  const void* arguments;
  std::int64_t blocks = 0, block = 0;
  std::vector<unsigned char> shared;
  std::size_t shared_bytes = 0;
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  Meeting meeting, groups[kGroupBarriers];
  std::vector<Deferred> deferred;
  bool any = false;
  jmp_buf scheduler;
  Fiber* running = nullptr;
  std::int64_t progress = 0;  // arrivals, ends and yields that found something new
  std::exception_ptr failure;
};

thread_local Grid* grid = nullptr;
thread_local bool downwards = false;

void leave() {
  if (_setjmp(grid->running->place) == 0) _longjmp(grid->scheduler, 1);
}

// Returns when the fiber leaves or ends.
void run_fiber(Grid* g, Fiber* f) {
  g->running = f;
  if (_setjmp(g->scheduler) != 0) return;
  if (f->begun) _longjmp(f->place, 1);
  f->begun = true;
  setcontext(&f->context);
}

void enter_fiber() {
  Grid* g = grid;
  try {
    g->body(g->arguments);
  } catch (...) {
    if (!g->failure) g->failure = std::current_exception();
  }
  g->running->ended = true;
  ++g->progress;
  _longjmp(g->scheduler, 1);
}

Warp& own_warp() { return grid->warps[static_cast<std::size_t>(grid->running->index / kWarp)]; }

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

void begin_block(Grid* g) {
  std::memset(g->shared.data(), kPoison, g->shared.size());
  g->meeting = {static_cast<int>(g->fibers.size()), 0, 0};
  for (Meeting& m : g->groups) m = {};
  for (std::size_t w = 0; w < g->warps.size(); ++w) {
    const auto rest = static_cast<int>(g->fibers.size() - w * kWarp);
    g->warps[w].meeting = {rest < kWarp ? rest : kWarp, 0, 0};
  }
  for (Fiber& f : g->fibers) {
    f.begun = f.ended = false;
    f.turn = 0;
    f.states.clear();
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = f.stack.get();
    f.context.uc_stack.ss_size = kStackBytes;
    f.context.uc_link = nullptr;
    makecontext(&f.context, enter_fiber, 0);
  }
}

void run_block(Grid* g) {
  begin_block(g);
  const std::size_t count = g->fibers.size();
  for (std::size_t live = count; live > 0;) {
    const std::int64_t before = g->progress;
    live = 0;
    for (std::size_t i = 0; i < count; ++i) {
      Fiber& f = g->fibers[downwards ? count - 1 - i : i];
      if (f.ended) continue;
      run_fiber(g, &f);
      if (g->failure) std::rethrow_exception(g->failure);
      if (!f.ended) ++live;
    }
    if (live > 0 && g->progress == before)
      throw std::logic_error("threads of block " + std::to_string(g->block) +
                             " wait for each other for ever");
  }
  if (!g->deferred.empty()) throw std::logic_error("a block ends before its copies");
}

}  // namespace

void run_grid(std::int64_t blocks, int threads, std::int64_t shared_bytes, void (*body)(const void*),
              const void* arguments) {
  Grid g;
  g.body = body;
  g.arguments = arguments;
  g.blocks = blocks;
  g.shared_bytes = static_cast<std::size_t>(shared_bytes);
  g.shared.resize(g.shared_bytes + kSharedAlignment);
  g.fibers.resize(static_cast<std::size_t>(threads));
  for (int i = 0; i < threads; ++i) g.fibers[static_cast<std::size_t>(i)].index = i;
  g.warps.resize(static_cast<std::size_t>((threads + kWarp - 1) / kWarp));
  downwards = !downwards;
  Grid* const outer = grid;
  grid = &g;
  try {
    for (g.block = 0; g.block < blocks; ++g.block) run_block(&g);
  } catch (...) {
    grid = outer;
    throw;
  }
  grid = outer;
}

std::int64_t& launches(std::type_index kernel) {
  static std::unordered_map<std::type_index, std::int64_t> counts;
  return counts[kernel];
}

int thread() { return grid->running->index; }
std::int64_t block() { return grid->block; }
std::int64_t blocks() { return grid->blocks; }

void* shared() {
  const auto at = reinterpret_cast<std::uintptr_t>(grid->shared.data());
  return reinterpret_cast<void*>((at + kSharedAlignment - 1) / kSharedAlignment * kSharedAlignment);
}

std::uint32_t shared_address(const void* at) {
  const auto* const base = static_cast<const unsigned char*>(shared());
  const auto* const byte = static_cast<const unsigned char*>(at);
  if (byte < base || byte > base + grid->shared_bytes)
    throw std::logic_error("an address is not of the block's shared memory");
  return static_cast<std::uint32_t>(byte - base);
}

unsigned char* shared_bytes(std::uint32_t address, std::size_t bytes, std::size_t alignment) {
  if (address + bytes > grid->shared_bytes)
    throw std::logic_error("an access beyond the block's shared memory");
  if (address % alignment != 0) throw std::logic_error("a misaligned access to shared memory");
  return static_cast<unsigned char*>(shared()) + address;
}

void wait_for_block() { meet(&grid->meeting); }
void wait_for_warp() { meet(&own_warp().meeting); }

void wait_for_group(int barrier, int threads) {
  if (barrier < 1 || barrier >= kGroupBarriers || threads <= 0 || threads % kWarp != 0)
    throw std::logic_error("a group's barrier has a number from 1 to 15 and whole warps");
  Meeting& m = grid->groups[barrier];
  if (m.arrived == 0) m.members = threads;
  if (m.members != threads) throw std::logic_error("threads disagree on the size of a group's barrier");
  meet(&m);
}

void yield() { leave(); }
void progressed() { ++grid->progress; }

const void* publish(const void* value, std::size_t bytes, int from) {
  if (bytes > kLargestSlot) throw std::logic_error("a lane publishes more than a slot holds");
  Fiber& f = *grid->running;
  f.turn = 1 - f.turn;
  std::memcpy(own_warp().slots[f.turn][f.index % kWarp], value, bytes);
  wait_for_warp();
  return published(from);
}

const void* published(int from) { return own_warp().slots[grid->running->turn][from]; }

bool any_in_block(bool predicate) {
  wait_for_block();  // until nobody reads the last one's answer
  grid->any = false;
  wait_for_block();
  grid->any = grid->any || predicate;
  wait_for_block();
  return grid->any;
}

bool elected_of_warp() {
  wait_for_warp();
  return thread() % kWarp == (downwards ? own_warp().meeting.members - 1 : 0);
}

void defer(const void* barrier, std::function<void()> work) {
  grid->deferred.push_back({barrier, std::move(work)});
}

bool run_deferred(const void* barrier) {
  std::vector<Deferred> due;
  for (auto& d : std::exchange(grid->deferred, {}))
    (d.barrier == barrier ? due : grid->deferred).push_back(std::move(d));
  for (const Deferred& d : due) d.work();
  return !due.empty();
}

States& thread_states() { return grid->running->states; }

}  // namespace fastconv::cuda::emulation
