// Division and rounding of sizes; b is positive, a may be negative.
#pragma once

#include <cstdint>

namespace fastconv {

constexpr std::int64_t floor_div(std::int64_t a, std::int64_t b) { return a / b - (a % b < 0); }
constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return -floor_div(-a, b); }
constexpr std::int64_t round_up(std::int64_t a, std::int64_t b) { return ceil_div(a, b) * b; }

// The larger one of equal parts of `total`, each at least 1 and at most max(most, 1).
constexpr std::int64_t even_part(std::int64_t total, std::int64_t most) {
  return total <= 0 ? 1 : ceil_div(total, ceil_div(total, most < 1 ? 1 : most));
}

}  // namespace fastconv
