// A 128-bit hash of bytes, of which two different ones never meet in practice. It is for telling contents
// apart, not for withstanding an attack.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fastconv {

struct Fingerprint {
  std::uint64_t low = 0, high = 0;

  bool operator==(const Fingerprint& o) const { return low == o.low && high == o.high; }
};

// Of bytes that follow on those of which `before` is the fingerprint: how they are cut matters.
Fingerprint fingerprint(const void* data, std::size_t bytes, const Fingerprint& before = {});

}  // namespace fastconv
