#include "cpu/cpu_features.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#endif

namespace fastconv::cpu {
namespace {

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// "32K", "1M" -> bytes; 0 where it can't be read.
std::int64_t parse_size(const std::string& text) {
  std::istringstream in(text);
  std::int64_t value = 0;
  char unit = 0;
  if (!(in >> value)) return 0;
  in >> unit;
  return unit == 'K' ? value << 10 : unit == 'M' ? value << 20 : value;
}

void read_caches(CpuFeatures* f) {
  for (int index = 0; index < 8; ++index) {
    const std::string dir = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index) + "/";
    const std::string level = first_line(dir + "level");
    if (level.empty()) break;
    if (first_line(dir + "type") == "Instruction") continue;
    const std::int64_t bytes = parse_size(first_line(dir + "size"));
    if (bytes <= 0) continue;
    if (level == "1") f->l1_bytes = bytes;
    if (level == "2") f->l2_bytes = bytes;
    if (level == "3") f->l3_bytes = bytes;
  }
}

std::string read_model_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("model name", 0) == 0) {
      const auto colon = line.find(':');
      return colon == std::string::npos ? line : line.substr(std::min(colon + 2, line.size()));
    }
  }
  return "unknown";
}

#if defined(__x86_64__)
std::uint64_t enabled_state() {  // XCR0: the register files that the operating system saves
  std::uint32_t low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<std::uint64_t>(high) << 32) | low;
}

// The tiles' 8 KiB are saved for those processes alone that have asked Linux for them; its threads, later
// ones too, and its children may then use them. Where a signal stack is too small to hold them, where a
// sandbox refuses the call or the system does not know it, there are none.
bool tiles_granted() {
  constexpr long kGetPermissions = 0x1022, kRequestPermission = 0x1023, kTileData = 18;  // asm/prctl.h
  unsigned long granted = 0;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0 &&
         syscall(SYS_arch_prctl, kGetPermissions, &granted) == 0 && (granted >> kTileData & 1) != 0;
}

// Leaf 7's bits of EDX, sub-leaf 1's of EAX, and palette 1 of leaf 0x1d: eight tiles of 16 rows of 64 bytes.
bool has_bf16_tiles(std::uint64_t state) {
  constexpr std::uint64_t kTileState = (1u << 17) | (1u << 18);
  constexpr unsigned kAmxBf16 = 1u << 22, kAmxTile = 1u << 24, kAvx512Bf16 = 1u << 5;
  unsigned a, b, c, d;
  if ((state & kTileState) != kTileState || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  if (!(d & kAmxBf16) || !(d & kAmxTile) || a < 1) return false;
  if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a & kAvx512Bf16)) return false;
  if (!__get_cpuid_count(0x1d, 1, &a, &b, &c, &d)) return false;
  const unsigned row_bytes = b & 0xffff, tiles = b >> 16, rows = c & 0xffff;
  return row_bytes >= 64 && tiles >= 8 && rows >= 16;
}

void read_instruction_sets(CpuFeatures* f) {
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return;
  const bool osxsave = c & bit_OSXSAVE, fma = c & bit_FMA, f16c = c & bit_F16C;
  if (!osxsave || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return;
  const std::uint64_t state = enabled_state();
  const bool ymm = (state & 0x6) == 0x6, zmm = (state & 0xe6) == 0xe6;
  f->avx2_fma_f16c = ymm && fma && f16c && (b & bit_AVX2);
  f->avx512 = zmm && f->avx2_fma_f16c && (b & bit_AVX512F) && (b & bit_AVX512BW) && (b & bit_AVX512DQ) &&
              (b & bit_AVX512VL);
  f->amx = f->avx512 && has_bf16_tiles(state) && tiles_granted();
}
#elif defined(__aarch64__)
void read_instruction_sets(CpuFeatures* f) { f->neon = true; }  // part of the base architecture
#else
void read_instruction_sets(CpuFeatures*) {}
#endif

}  // namespace

const CpuFeatures& cpu_features() {
  static const CpuFeatures features = [] {
    CpuFeatures f;
    f.model_name = read_model_name();
    read_caches(&f);
    read_instruction_sets(&f);
    return f;
  }();
  return features;
}

int usable_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  // cgroup v2 "quota period", v1 in two files; a quota of "max" or -1 is none.
  double quota = -1, period = 0;
  std::istringstream v2(first_line("/sys/fs/cgroup/cpu.max"));
  if (!(v2 >> quota >> period)) {
    std::istringstream q(first_line("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"));
    std::istringstream p(first_line("/sys/fs/cgroup/cpu/cpu.cfs_period_us"));
    if (!(q >> quota) || !(p >> period)) quota = -1;
  }
  if (quota > 0 && period > 0) count = std::min(count, static_cast<int>(std::ceil(quota / period)));
  return std::max(count, 1);
}

std::int64_t usable_memory() {
  std::int64_t bytes = static_cast<std::int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGE_SIZE);
  for (const char* path : {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    std::istringstream in(first_line(path));
    std::int64_t limit = 0;
    if (in >> limit && limit > 0) bytes = std::min(bytes, limit);
  }
  return bytes;
}

}  // namespace fastconv::cpu
