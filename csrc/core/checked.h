// Products and sums of sizes that say so instead of overflowing.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>

namespace fastconv {

// Bytes of the largest tensor that is thought of at all; keeps every offset of it far from overflow.
constexpr std::int64_t kLargestBytes = std::int64_t{1} << 56;

// Multiplies `product` by a size; false where that is too large.
inline bool multiply_size(std::int64_t* product, std::int64_t size) {
  return !__builtin_mul_overflow(*product, size, product) && *product <= kLargestBytes;
}

// What of which call is too large: the words are put together only then.
struct SizeOf {
  const std::string& function;
  const char* what;

  [[noreturn]] void too_large() const {
    throw std::invalid_argument(function + ": " + what +
                                " is too large: the product of its sizes does not fit into 56 bits");
  }
};

inline std::int64_t checked_product(const SizeOf& of, std::initializer_list<std::int64_t> factors) {
  std::int64_t r = 1;
  for (const std::int64_t f : factors)
    if (!multiply_size(&r, f)) of.too_large();
  return r;
}

}  // namespace fastconv
