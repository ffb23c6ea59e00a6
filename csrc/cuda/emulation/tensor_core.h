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

// Fragments as lanes show them.
struct Fragments {
  std::uint32_t a[4], b[2];

  static const Fragments& of(int lane) { return *static_cast<const Fragments*>(published(lane)); }
};

// Element [row][k] of A or [k][column] of B; kElements of T fill a register.
template <class T>
float element(const std::uint32_t (&registers)[4], int upper_row, int k) {
  constexpr int kElements = 4 / static_cast<int>(sizeof(T)), kHalf = 4 * kElements;
  T elements[kElements];
  std::memcpy(elements, &registers[upper_row + 2 * (k / kHalf)], sizeof elements);
  return multiplicand(elements[k % kElements]);
}
template <class T>
float element(const std::uint32_t (&registers)[2], int k) {
  constexpr int kElements = 4 / static_cast<int>(sizeof(T)), kHalf = 4 * kElements;
  T elements[kElements];
  std::memcpy(elements, &registers[k / kHalf], sizeof elements);
  return multiplicand(elements[k % kElements]);
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

template <class T>
void multiply_add(float (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  using emulation::Fragments;
  constexpr int kElements = 4 / static_cast<int>(sizeof(T)), kTerms = 8 * kElements;
  Fragments own;
  std::memcpy(own.a, a, sizeof own.a);
  std::memcpy(own.b, b, sizeof own.b);
  emulation::publish(&own, sizeof own, 0);
  const int lane = thread_index() % kWarp, g = lane / 4, t = lane % 4;
  for (int i = 0; i < 4; ++i) {
    const int column = 2 * t + i % 2;
    for (int k = 0; k < kTerms; ++k) {
      const int holder = k / kElements % 4;  // within the four lanes of a row or column
      c[i] += emulation::element<T>(Fragments::of(4 * g + holder).a, i / 2, k) *
              emulation::element<T>(Fragments::of(4 * column + holder).b, k);
    }
  }
}

}  // namespace fastconv::cuda
