// The twin of mbarrier.h. Copies that a phase waits for happen when a thread waits and nothing else is
// missing.
#pragma once

#include <cstring>
#include <stdexcept>

#include "cuda/emulation/device.h"

namespace fastconv::cuda {
namespace emulation {

// The counts of the PTX ISA's "Contents of the mbarrier object", in its 64 bits.
struct MbarrierState {
  std::uint64_t expected : 20, pending : 20;
  std::int64_t bytes : 21;  // still to come
  std::uint64_t phase : 1, initialised : 2;
};
static_assert(sizeof(MbarrierState) == sizeof(Mbarrier));

constexpr unsigned kInitialised = 1;  // poisoned memory has 3

inline MbarrierState read_mbarrier(const Mbarrier* b) {
  MbarrierState s;
  std::memcpy(&s, shared_bytes(shared_address(b), sizeof s, sizeof s), sizeof s);
  if (s.initialised != kInitialised) throw std::logic_error("an mbarrier is used before its initialisation");
  return s;
}

inline void write_mbarrier(Mbarrier* b, MbarrierState s) {
  if (s.pending == 0 && s.bytes == 0) {
    s.phase = !s.phase;
    s.pending = s.expected;
  }
  std::memcpy(b, &s, sizeof s);
  progressed();
}

inline void complete_bytes(Mbarrier* b, std::int64_t bytes) {
  MbarrierState s = read_mbarrier(b);
  s.bytes = s.bytes - bytes;
  write_mbarrier(b, s);
}

}  // namespace emulation

inline void init_mbarrier(Mbarrier* b, int arrivals) {
  const auto count = static_cast<std::uint64_t>(arrivals) & 0xfffff;
  if (arrivals < 1 || count != static_cast<std::uint64_t>(arrivals))
    throw std::logic_error("an mbarrier for no arrivals or too many");
  emulation::MbarrierState s{};
  s.expected = s.pending = count;
  s.initialised = emulation::kInitialised;
  std::memcpy(emulation::shared_bytes(shared_address(b), sizeof s, sizeof s), &s, sizeof s);
}

inline void publish_mbarriers() {}

inline void arrive_expecting(Mbarrier* b, int bytes) {
  emulation::MbarrierState s = emulation::read_mbarrier(b);
  if (s.pending == 0) throw std::logic_error("more threads arrive at an mbarrier than its phase has");
  s.bytes = s.bytes + bytes;
  s.pending = s.pending - 1;
  emulation::write_mbarrier(b, s);
}

inline void arrive(Mbarrier* b) {
  arrive_expecting(b, 0);
  emulation::yield();  // to those who waited for this, and may now do what comes too soon
}

inline void wait_for_phase(Mbarrier* b, int parity) {
  for (;;) {
    const emulation::MbarrierState s = emulation::read_mbarrier(b);
    if (static_cast<int>(s.phase) != parity) return;
    if (s.pending > 0 || !emulation::run_deferred(b)) emulation::yield();
  }
}

}  // namespace fastconv::cuda
