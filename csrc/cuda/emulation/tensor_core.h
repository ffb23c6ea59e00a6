// The twin of tensor_core.h: lanes show their registers to their warp, and each computes its own four sums.
#pragma once

#include <cmath>
#include <cstring>

#include "cuda/emulation/device.h"

namespace fastconv::cuda {
namespace emulation {

// What a product sees of an operand.
template <class T>
float multiplicand(T x) {
  return widen(x);
}
template <>
inline float multiplicand(Tf32 x) {
  const std::uint32_t seen = x.bits & ~0x1fffu;
  float value;
  std::memcpy(&value, &seen, sizeof value);
  return value;
}

// What a lane shows of its fragments: the elements of A's row g and row g + 8, and of B's column g.
template <class T>
struct Fragments {
  static constexpr int kOfRegister = 4 / static_cast<int>(sizeof(T)), kElements = 2 * kOfRegister;
  float a[2][kElements], b[kElements];

  Fragments(const std::uint32_t (&ra)[4], const std::uint32_t (&rb)[2]) {
    for (int i = 0; i < kElements; ++i) {
      const int half = i / kOfRegister;
      a[0][i] = element(ra[2 * half], i % kOfRegister);
      a[1][i] = element(ra[1 + 2 * half], i % kOfRegister);
      b[i] = element(rb[half], i % kOfRegister);
    }
  }

 private:
  static float element(std::uint32_t fragment, int i) {
    T elements[kOfRegister];
    std::memcpy(elements, &fragment, sizeof elements);
    return multiplicand(elements[i]);
  }
};

// Rounded toward zero.
inline float truncated(double x) {
  const auto nearest = static_cast<float>(x);
  return std::fabs(static_cast<double>(nearest)) > std::fabs(x) ? std::nextafter(nearest, 0.0f) : nearest;
}

// What lane 8 i + j says is where row j of matrix i lies.
inline const std::uint16_t* matrix_row(int matrix, int row) {
  const void* at;
  std::memcpy(&at, published(8 * matrix + row), sizeof at);
  constexpr std::size_t kRowBytes = 16;
  return reinterpret_cast<const std::uint16_t*>(shared_bytes(shared_address(at), kRowBytes, kRowBytes));
}

inline std::uint32_t pair(std::uint16_t low, std::uint16_t high) {
  return low | static_cast<std::uint32_t>(high) << 16;
}

}  // namespace emulation

inline Tf32 to_tf32(float x) {
  if (std::isnan(x)) return {0x7fffffff};
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return {std::isinf(x) ? bits : (bits + 0x1000) & ~0x1fffu};
}

template <int kMatrices>
void load_matrices(std::uint32_t (&r)[kMatrices], const void* row) {
  static_assert(kMatrices == 1 || kMatrices == 2 || kMatrices == 4);
  emulation::publish(&row, sizeof row, 0);
  const int lane = thread_index() % kWarp, g = lane / 4, t = lane % 4;
  for (int i = 0; i < kMatrices; ++i) {
    const std::uint16_t* const elements = emulation::matrix_row(i, g);
    r[i] = emulation::pair(elements[2 * t], elements[2 * t + 1]);
  }
}

template <int kMatrices>
void load_transposed(std::uint32_t (&r)[kMatrices], const void* row) {
  static_assert(kMatrices == 1 || kMatrices == 2 || kMatrices == 4);
  emulation::publish(&row, sizeof row, 0);
  const int lane = thread_index() % kWarp, g = lane / 4, t = lane % 4;
  for (int i = 0; i < kMatrices; ++i)
    r[i] = emulation::pair(emulation::matrix_row(i, 2 * t)[g], emulation::matrix_row(i, 2 * t + 1)[g]);
}

// Sums as the hardware makes them: exact products, a few at a time with what was there, cut off to float32
// (Fasi, Higham, Mikaitis and Pranesh, "Numerical behavior of NVIDIA tensor cores", PeerJ Computer Science
// 2021).
template <class T>
void multiply_add(float (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  using Fragments = emulation::Fragments<T>;
  const Fragments own(a, b);
  emulation::publish(&own, sizeof own, 0);
  const auto* const shown = static_cast<const unsigned char*>(emulation::published(0));
  const auto of = [&](int lane) -> const Fragments& {
    return *reinterpret_cast<const Fragments*>(shown +
                                               static_cast<std::size_t>(lane) * emulation::kLargestSlot);
  };
  const int lane = thread_index() % kWarp, g = lane / 4, t = lane % 4;
  constexpr int kHalf = Fragments::kOfRegister;  // a register of each of four lanes: 8 terms, 4 of tf32
  for (int half = 0; half < 2; ++half) {
    double sum[4] = {c[0], c[1], c[2], c[3]};
    for (int i = 0; i < 4; ++i) {
      const Fragments& row = of(4 * g + i);
      for (int column = 0; column < 2; ++column) {
        const Fragments& other = of(4 * (2 * t + column) + i);
        for (int k = half * kHalf; k < (half + 1) * kHalf; ++k) {
          const double by = other.b[k];
          sum[column] += row.a[0][k] * by;
          sum[2 + column] += row.a[1][k] * by;
        }
      }
    }
    for (int i = 0; i < 4; ++i) c[i] = emulation::truncated(sum[i]);
  }
}

}  // namespace fastconv::cuda
