// What this processor and operating system allow, read once: instruction sets, and the sizes of the data
// caches.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fastconv::cpu {

struct CpuFeatures {
  bool avx2_fma_f16c = false;
  bool avx512 = false;  // F, BW, DQ and VL
  bool amx = false;     // tiles of bfloat16, AVX-512's conversions to it, and the system's leave to use tiles
  bool neon = false;
  std::string model_name;
  std::int64_t l1_bytes = 32 << 10;  // per core
  std::int64_t l2_bytes = 256 << 10;
  std::int64_t l3_bytes = 0;  // shared
};

const CpuFeatures& cpu_features();

// CPUs that this process may use: its affinity mask, cut by the cgroup's CPU quota.
int usable_cpus();

// Bytes of memory that this process may hope for: physical memory, cut by the cgroup's limit.
std::int64_t usable_memory();

}  // namespace fastconv::cpu
