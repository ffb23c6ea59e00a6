// float32 values as sums of bfloat16 parts. Each part is the rest rounded to nearest and what it leaves is
// exact, so that three parts hold all 24 bits of a value whose last part is not so small as to be flushed.
#pragma once

#include "cpu/contracts/tiles.h"
#include "cpu/kernels/tile_registers.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

// Sixteen values: their next part, taken off `rest`.
inline __m256i take_part(VecF32* rest, bool last) {
  const __m256i part = (__m256i)_mm512_cvtneps_pbh(rest->v);
  if (!last) *rest = *rest - widen_bf16(part);
  return part;
}

template <int kParts>
inline __attribute__((always_inline)) void store_parts(VecF32 values, BFloat16* to, int64_t part_stride) {
#pragma GCC unroll 3
  for (int p = 0; p < kParts; ++p)
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + p * part_stride),
                        take_part(&values, p + 1 == kParts));
}

template <int kParts>
struct PartCount {
  static constexpr int kCount = kParts;
};
template <class Call>
void with_parts(int parts, const Call& call) {
  if (parts == 1) return call(PartCount<1>{});
  if (parts == 2) return call(PartCount<2>{});
  call(PartCount<3>{});
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
