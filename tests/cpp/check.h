// The smallest test frame that serves: CHECK counts and prints the first failures with their place; main
// returns finish(), which is 0 when none failed and prints one line, with the instruction sets at its end.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>

namespace fastconv::test {

inline long long checks = 0, failures = 0;
constexpr long long kShownFailures = 20;

#define CHECK(condition, ...)                                                           \
  do {                                                                                  \
    ++fastconv::test::checks;                                                           \
    if (!(condition) && ++fastconv::test::failures <= fastconv::test::kShownFailures) { \
      std::fprintf(stderr, "%s:%d: %s failed: ", __FILE__, __LINE__, #condition);       \
      std::fprintf(stderr, __VA_ARGS__);                                                \
      std::fputc('\n', stderr);                                                         \
    }                                                                                   \
  } while (false)

inline int finish(const char* subject, const std::string& isas = "") {
  std::printf("%s: %lld checks, %lld failed%s\n", subject, checks, failures, isas.c_str());
  return failures == 0 && checks > 0 ? 0 : 1;
}

// Equal bits, or both not a number (whose payload no operation promises).
template <class T>
bool same(T a, T b) {
  return (std::isnan(a) && std::isnan(b)) || std::memcmp(&a, &b, sizeof(T)) == 0;
}

// A small reproducible generator of values in [-2, 2).
class Values {
 public:
  explicit Values(std::uint64_t seed) : state_(seed * 2 + 1) {}
  double operator()() {
    state_ = state_ * 6364136223846793005ull + 1442695040888963407ull;
    return static_cast<double>(static_cast<std::int64_t>(state_) >> 11) * 0x1p-51;
  }

 private:
  std::uint64_t state_;
};

}  // namespace fastconv::test
