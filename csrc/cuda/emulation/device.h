// The device as kernels see it, on the CPU: an aid to their tests. Threads of a block are fibers of one host
// thread, which run until they wait for each other (executor.h).
#pragma once

#include <cmath>
#include <cstring>
#include <type_traits>

#include "core/dtype.h"
#include "cuda/emulation/executor.h"

#define FASTCONV_DEVICE inline
#define FASTCONV_DEVICE_CALL inline
#define FASTCONV_UNROLL

namespace fastconv::cuda {

constexpr int kWarp = emulation::kWarp;

inline int thread_index() { return emulation::thread(); }
inline std::int64_t block_index() { return emulation::block(); }
inline std::int64_t block_count() { return emulation::blocks(); }
inline void* shared_memory() { return emulation::shared(); }
inline std::uint32_t shared_address(const void* at) { return emulation::shared_address(at); }
inline void barrier() { emulation::wait_for_block(); }

template <class T>
T shuffle_xor(T value, int mask) {
  static_assert(std::is_trivially_copyable_v<T>);
  T other;
  const void* from = emulation::publish(&value, sizeof value, (thread_index() % kWarp) ^ mask);
  std::memcpy(&other, from, sizeof other);
  return other;
}

inline int atomic_min(int* at, int value) {
  const int before = *at;
  if (value < before) *at = value;
  return before;
}
inline int atomic_max(int* at, int value) {
  const int before = *at;
  if (value > before) *at = value;
  return before;
}
inline int atomic_add(int* at, int value) {
  const int before = *at;
  *at = before + value;
  return before;
}

inline bool any_in_block(bool predicate) { return emulation::any_in_block(predicate); }

inline std::uint64_t multiply_high(std::uint64_t a, std::uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::uint64_t>((static_cast<Wide>(a) * b) >> 64);
}

template <class T>
T larger(T a, T b) {
  return !(b <= a) && a == a ? b : a;
}

inline std::int32_t bits_of(float x) {
  std::int32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

inline float widen(Float16 x) {
  _Float16 value;
  std::memcpy(&value, &x.bits, sizeof value);
  return static_cast<float>(value);
}
inline float widen(BFloat16 x) {
  const std::uint32_t bits = static_cast<std::uint32_t>(x.bits) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline Float16 to_float16(float x) {
  const auto value = static_cast<_Float16>(x);
  Float16 result;
  std::memcpy(&result.bits, &value, sizeof value);
  return result;
}
inline BFloat16 to_bfloat16(float x) {
  if (std::isnan(x)) return {0x7fff};
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return {static_cast<std::uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16)};
}

}  // namespace fastconv::cuda
