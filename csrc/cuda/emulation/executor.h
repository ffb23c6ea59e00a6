// Runs a grid on the CPU, block by block. Each thread of a block is a fiber: it runs until it waits for the
// others of its warp or block, when the next one has its turn. So nothing is ever seen half done, and what a
// kernel would leave to chance is made visible instead: shared memory begins as NaN patterns, and threads
// take their turns upwards in one launch and downwards in the next, so that a missing barrier changes
// results.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fastconv::cuda::emulation {

constexpr int kWarp = 32;
constexpr std::size_t kLargestSlot = 128;  // bytes that a lane can publish

// std::logic_error where threads wait for each other for ever, or some end while others wait for them.
void run_grid(std::int64_t blocks, int threads, std::int64_t shared_bytes, void (*body)(const void*),
              const void* arguments);

// Of the thread that runs now.
int thread();
std::int64_t block();
std::int64_t blocks();
void* shared();

void wait_for_block();
void wait_for_warp();
// Lets the others run, for a thread that waits for what they do to memory.
void yield();

// Shows `bytes` of each lane to its warp; returns what lane `from` showed.
const void* publish(const void* value, std::size_t bytes, int from);
bool any_in_block(bool predicate);

}  // namespace fastconv::cuda::emulation
