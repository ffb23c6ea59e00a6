// Division by a number that stays the same for a whole launch, as a product: n / d is the upper half of n *
// m, shifted, for m = floor(2^(63 + s) / d) + 1 and s = ceil(log2 d), exact for 0 <= n < 2^63 (Granlund and
// Montgomery, "Division by invariant integers using multiplication", PLDI 1994).
#pragma once

#include "cuda/device.h"

namespace fastconv::cuda {

struct Divisor {
  std::int64_t value = 1;
  std::uint64_t multiplier = 0;  // 0: by one
  int shift = 0;

  Divisor() = default;
  explicit Divisor(std::int64_t d) : value(d) {
    int s = 0;
    while (s < 63 && (std::int64_t{1} << s) < d) ++s;
    if (s == 0) return;
    __extension__ using Wide = unsigned __int128;
    multiplier = static_cast<std::uint64_t>((Wide{1} << (63 + s)) / static_cast<Wide>(d)) + 1;
    shift = s - 1;
  }
};

struct Quotient {
  std::int64_t quotient, remainder;
};

FASTCONV_DEVICE Quotient divide(std::int64_t n, const Divisor& d) {
  if (d.multiplier == 0) return {n, 0};
  const auto q =
      static_cast<std::int64_t>(multiply_high(static_cast<std::uint64_t>(n), d.multiplier) >> d.shift);
  return {q, n - q * d.value};
}

}  // namespace fastconv::cuda
