// Arrays that kernels and the host both reach, and the element types as the host writes them. Values are
// small multiples of 1/8, which all types hold and whose sums of products float32 holds: results are compared
// exactly.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "cuda/runtime.h"
#include "cuda/tensor_core.h"

#ifndef FASTCONV_EMULATED
#include <cuda_runtime.h>
#endif

namespace fastconv::test {

using cuda::Tf32;

template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(std::int64_t count) : count_(count) {
    const auto bytes = static_cast<std::size_t>(count) * sizeof(T);
#ifdef FASTCONV_EMULATED
    data_ = static_cast<T*>(cuda::allocate(static_cast<std::int64_t>(bytes), nullptr));
#else
    if (cudaMallocManaged(&data_, bytes) != cudaSuccess) throw std::bad_alloc();
    std::memset(static_cast<void*>(data_), 0xff, bytes);
#endif
  }
  ~DeviceArray() {
#ifdef FASTCONV_EMULATED
    cuda::give_back(data_, nullptr);
#else
    (void)cudaFree(data_);
#endif
  }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() const { return data_; }
  std::int64_t size() const { return count_; }
  T& operator[](std::int64_t i) const { return data_[i]; }

 private:
  T* data_ = nullptr;
  std::int64_t count_;
};

inline std::uint32_t bits_of(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

inline float of_bits(std::uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

// Of a value that the type holds as a normal number or zero.
template <class T>
T exactly(float x);
template <>
inline Tf32 exactly(float x) {
  return {bits_of(x)};
}
template <>
inline BFloat16 exactly(float x) {
  return {static_cast<std::uint16_t>(bits_of(x) >> 16)};
}
template <>
inline Float16 exactly(float x) {
  const std::uint32_t bits = bits_of(x), sign = bits >> 16 & 0x8000;
  if (x == 0) return {static_cast<std::uint16_t>(sign)};
  return {static_cast<std::uint16_t>(sign | (((bits & 0x7fffffff) >> 13) - ((127 - 15) << 10)))};
}

// Reproducible multiples of 1/8 from -2 to 2.
class Eighths {
 public:
  explicit Eighths(std::uint64_t seed) : state_(seed * 2 + 1) {}
  float operator()() {
    state_ = state_ * 6364136223846793005ull + 1442695040888963407ull;
    return static_cast<float>(static_cast<int>((state_ >> 40) % 33) - 16) / 8;
  }

 private:
  std::uint64_t state_;
};

// An array for kernels with the values as floats beside it.
template <class T>
struct Operand {
  Operand(std::int64_t count, std::uint64_t seed) : array(count), values(static_cast<std::size_t>(count)) {
    Eighths next(seed);
    for (std::int64_t i = 0; i < count; ++i) {
      values[static_cast<std::size_t>(i)] = next();
      array[i] = exactly<T>(values[static_cast<std::size_t>(i)]);
    }
  }
  float operator[](std::int64_t i) const { return values[static_cast<std::size_t>(i)]; }

  DeviceArray<T> array;
  std::vector<float> values;
};

}  // namespace fastconv::test
