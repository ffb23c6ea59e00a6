// Runs a grid on the CPU, block by block. Each thread of a block is a fiber: it runs until it waits for the
// others of its warp or block, when the next one has its turn. So nothing is ever seen half done, and what a
// kernel would leave to chance is made visible instead: shared memory begins as NaN patterns, threads take
// their turns upwards in one launch and downwards in the next, so that a missing barrier changes results, and
// asynchronous work is done at the last moment that its wait allows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <typeindex>
#include <unordered_map>

namespace fastconv::cuda::emulation {

constexpr int kWarp = 32;
constexpr int kGroupBarriers = 16;
constexpr std::size_t kLargestSlot = 128;  // bytes that a lane can publish
constexpr unsigned char kPoison = 0xff;    // NaN as float, double, float16 and bfloat16

// std::logic_error where threads wait for each other for ever, some end while others wait for them, or a
// primitive is used against its rules.
void run_grid(std::int64_t blocks, int threads, std::int64_t shared_bytes, void (*body)(const void*),
              const void* arguments);

// How often a kernel was launched so far, for tests that must have met it.
std::int64_t& launches(std::type_index kernel);

// Of the thread that runs now.
int thread();
std::int64_t block();
std::int64_t blocks();

void* shared();
// An offset into the block's shared memory, which is what instructions take, and back.
std::uint32_t shared_address(const void* at);
unsigned char* shared_bytes(std::uint32_t address, std::size_t bytes, std::size_t alignment);

void wait_for_block();
void wait_for_warp();
void wait_for_group(int barrier, int threads);  // barriers 1 to 15, of whole warps
// Lets the others run, for a thread that waits for what they do to memory; they say by progressed() that they
// did something.
void yield();
void progressed();

// Shows `bytes` of each lane to its warp, until it publishes again; returns what lane `from` showed.
const void* publish(const void* value, std::size_t bytes, int from);
const void* published(int from);
bool any_in_block(bool predicate);
bool elected_of_warp();  // the lane whose turn comes first

// Work that someone has to wait for at `barrier`; a block must not end before it is done.
void defer(const void* barrier, std::function<void()> work);
bool run_deferred(const void* barrier);  // whether there was any

// What a primitive remembers for a thread or a block, from State{} at the block's begin.
using States = std::unordered_map<std::type_index, std::shared_ptr<void>>;
States& thread_states();

template <class State>
State& of_thread() {
  std::shared_ptr<void>& state = thread_states()[typeid(State)];
  if (!state) state = std::make_shared<State>();
  return *static_cast<State*>(state.get());
}

}  // namespace fastconv::cuda::emulation
