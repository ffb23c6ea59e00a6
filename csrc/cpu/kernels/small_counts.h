// Loops over a few rows or taps, unrolled for the counts that most windows have.
#pragma once

#include <type_traits>

#include "core/dtype.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

template <int... kCounts>
struct Counts {};

// Code of its own for each count of each operation on each dtype would be most of the library: only elements
// that are stored as they are computed with, under an operation that costs less than the loop, have it.
template <class V, class S, bool kCheap, int... kCounts>
using CountsThatPay =
    std::conditional_t<kCheap && std::is_same_v<S, typename V::Scalar>, Counts<kCounts...>, Counts<>>;

// Calls body with the count as a constant, or with 0 where it is none of the list.
template <class Body>
decltype(auto) with_count(Counts<>, int64_t, const Body& body) {
  return body(std::integral_constant<int, 0>());
}
template <int kFirst, int... kOthers, class Body>
decltype(auto) with_count(Counts<kFirst, kOthers...>, int64_t count, const Body& body) {
  if (count == kFirst) return body(std::integral_constant<int, kFirst>());
  return with_count(Counts<kOthers...>(), count, body);
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
