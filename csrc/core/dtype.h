// The element types of tensors. float16 and bfloat16 are storage types: they are widened to float32 as they
// are read and rounded (to nearest, ties to even) as they are written; all sums are kept in the compute type.
#pragma once

#include <cstdint>

namespace fastconv {

enum class Dtype : int { float32 = 0, float64 = 1, float16 = 2, bfloat16 = 3 };
constexpr int kDtypeCount = 4;

struct Float16 {
  std::uint16_t bits;
};
struct BFloat16 {
  std::uint16_t bits;
};

constexpr std::int64_t size_of(Dtype t) { return t == Dtype::float64 ? 8 : t == Dtype::float32 ? 4 : 2; }

// The type that sums are kept in.
constexpr Dtype compute_dtype(Dtype t) { return t == Dtype::float64 ? Dtype::float64 : Dtype::float32; }

constexpr const char* name_of(Dtype t) {
  return t == Dtype::float32   ? "float32"
         : t == Dtype::float64 ? "float64"
         : t == Dtype::float16 ? "float16"
                               : "bfloat16";
}

}  // namespace fastconv
