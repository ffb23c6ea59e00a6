// Products and sums of sizes that say so instead of overflowing.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>

namespace fastconv {

// Bytes of the largest tensor that is thought of at all; keeps every offset of it far from overflow.
constexpr std::int64_t kLargestBytes = std::int64_t{1} << 56;

inline std::int64_t checked_product(const std::string& what, std::initializer_list<std::int64_t> factors) {
  std::int64_t r = 1;
  for (const std::int64_t f : factors) {
    if (__builtin_mul_overflow(r, f, &r) || r > kLargestBytes) {
      throw std::invalid_argument(what + " is too large: the product of its sizes does not fit into 56 bits");
    }
  }
  return r;
}

}  // namespace fastconv
