// Every kernel table, and every table of vector operations, that this machine can run.
#pragma once

#include <string>
#include <vector>

#include "cpu/dispatch.h"
#include "vec_operations.h"

namespace fastconv::cpu {
namespace scalar {
const test::VecOperations& vec_operations();
}
namespace avx2 {
const test::VecOperations& vec_operations();
}
namespace avx512 {
const test::VecOperations& vec_operations();
}
namespace neon {
const test::VecOperations& vec_operations();
}
}  // namespace fastconv::cpu

namespace fastconv::test {

struct Isa {
  std::string name;
  const cpu::KernelTable* table;
  const VecOperations* vec;
  bool fused;  // fma rounds once
};

// The instruction set of a table's vectors.
inline std::string vectors_of(const std::string& isa) { return isa == "amx" ? "avx512" : isa; }

inline const VecOperations* vec_operations_of(const std::string& isa) {
#ifdef FASTCONV_HAS_avx2
  if (isa == "avx2") return &cpu::avx2::vec_operations();
#endif
#ifdef FASTCONV_HAS_avx512
  if (isa == "avx512") return &cpu::avx512::vec_operations();
#endif
#ifdef FASTCONV_HAS_neon
  if (isa == "neon") return &cpu::neon::vec_operations();
#endif
  return isa == "scalar" ? &cpu::scalar::vec_operations() : nullptr;
}

inline std::vector<Isa> runnable_isas() {
  std::vector<Isa> isas;
  for (const std::string& name : cpu::available_isas()) {
    cpu::set_isa(name);
    isas.push_back({name, &cpu::active_table(), vec_operations_of(vectors_of(name)), name != "scalar"});
  }
  return isas;
}

}  // namespace fastconv::test
