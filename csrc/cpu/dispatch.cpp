#include "cpu/dispatch.h"

#include <atomic>
#include <cstdlib>
#include <stdexcept>

#include "cpu/cpu_features.h"

namespace fastconv::cpu {

namespace scalar {
const KernelTable& kernel_table();
}
namespace avx2 {
const KernelTable& kernel_table();
}
namespace avx512 {
const KernelTable& kernel_table();
}
namespace neon {
const KernelTable& kernel_table();
}
namespace amx {
const TileKernels& tile_kernels();
}

namespace {

#ifdef FASTCONV_HAS_amx
// avx512's table with products on tiles.
const KernelTable& amx_table() {
  static const KernelTable table = [] {
    KernelTable t = avx512::kernel_table();
    t.isa = "amx";
    t.tiles = &amx::tile_kernels();
    return t;
  }();
  return table;
}
#endif

// Rows are ordered: a cap admits its own row and those above it in this list.
std::vector<const KernelTable*> runnable_tables() {
  std::vector<const KernelTable*> tables;
  [[maybe_unused]] const CpuFeatures& f = cpu_features();
#ifdef FASTCONV_HAS_scalar
  tables.push_back(&scalar::kernel_table());
#endif
#ifdef FASTCONV_EMULATES_neon
  tables.push_back(&neon::kernel_table());
#elif defined(FASTCONV_HAS_neon)
  if (f.neon) tables.push_back(&neon::kernel_table());
#endif
#ifdef FASTCONV_HAS_avx2
  if (f.avx2_fma_f16c) tables.push_back(&avx2::kernel_table());
#endif
#ifdef FASTCONV_EMULATES_avx512
  tables.push_back(&avx512::kernel_table());
#elif defined(FASTCONV_HAS_avx512)
  if (f.avx512) tables.push_back(&avx512::kernel_table());
#endif
#ifdef FASTCONV_EMULATES_amx
  tables.push_back(&amx_table());
#elif defined(FASTCONV_HAS_amx)
  if (f.amx) tables.push_back(&amx_table());
#endif
  return tables;
}

const KernelTable* choose_table() {
  const auto tables = runnable_tables();
  const char* cap = std::getenv("FASTCONV_ISA");
  if (!cap || !*cap) return tables.back();
  const std::vector<std::string> order = {"scalar", "neon", "avx2", "avx512", "amx"};
  const auto rank = [&](const std::string& name) {
    for (std::size_t i = 0; i < order.size(); ++i)
      if (order[i] == name) return static_cast<int>(i);
    return -1;
  };
  const int limit = rank(cap);
  if (limit < 0) {
    throw std::invalid_argument(std::string("FASTCONV_ISA: got '") + cap +
                                "', expected scalar, avx2, avx512, amx or neon");
  }
  const KernelTable* best = tables.front();
  for (const KernelTable* t : tables)
    if (rank(t->isa) <= limit) best = t;
  return best;
}

std::atomic<const KernelTable*>& active() {
  static std::atomic<const KernelTable*> table{choose_table()};
  return table;
}

}  // namespace

const KernelTable& active_table() { return *active().load(std::memory_order_acquire); }

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const KernelTable* t : runnable_tables()) names.emplace_back(t->isa);
  return names;
}

void set_isa(const std::string& name) {
  for (const KernelTable* t : runnable_tables()) {
    if (name == t->isa) {
      active().store(t, std::memory_order_release);
      return;
    }
  }
  throw std::invalid_argument("set_isa: this machine has no kernel table '" + name + "'");
}

}  // namespace fastconv::cpu
