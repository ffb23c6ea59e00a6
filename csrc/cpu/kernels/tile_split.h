// Operands of tile products: values split into bfloat16 parts and laid out as tiles (LineSplit,
// LineTurn and PairPack in contracts/tiles.h).
#pragma once

#include "cpu/contracts/tiles.h"
#include "cpu/kernels/tile_parts.h"
#include "cpu/kernels/vector_parts.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

constexpr int kHalfLine = kTileLanes / 2;

inline std::uint32_t largest_magnitude(const MagnitudeRows& m) {
  __m512i largest = _mm512_setzero_si512();
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  const auto look_at = [&](VecF32 x) {
    largest = _mm512_max_epi32(largest, _mm512_and_si512(_mm512_castps_si512(x.v), magnitude));
  };
  for (int64_t r = 0; r < m.rows; ++r) {
    const float* row = m.values + r * m.row_stride;
    const int64_t whole = m.count - m.count % VecF32::kLanes;
    for (int64_t i = 0; i < whole; i += VecF32::kLanes) look_at(VecF32::load(row + i));
    if (whole < m.count) look_at(VecF32::load_partial(row + whole, static_cast<int>(m.count - whole)));
  }
  std::uint32_t lanes[VecF32::kLanes], result = 0;
  _mm512_storeu_si512(lanes, largest);
  for (const std::uint32_t lane : lanes) result = lane > result ? lane : result;
  return result;
}

// Lanes that count among the kHalfLine from `first` on.
inline int lanes_of_half(int lanes, int first) {
  return lanes <= first ? 0 : lanes_left<VecF32>(first, lanes);
}

inline void split_lines(const LineSplit& s) {
  const int low = lanes_of_half(s.lanes, 0), high = lanes_of_half(s.lanes, kHalfLine);
  with_parts(s.part_count, [&](auto parts) {
    for (int64_t i = 0; i < s.count; ++i) {
      const float* from = s.lines + i * kTileLanes;
      BFloat16* to = s.parts + i * kTileLanes;
      store_parts<parts.kCount>(load_some<VecF32>(from, low), to, s.part_stride);
      store_parts<parts.kCount>(load_some<VecF32>(from + kHalfLine, high), to + kHalfLine, s.part_stride);
    }
  });
}

inline void turn_lines(const LineTurn& t) {
  with_parts(t.part_count, [&t](auto parts) {
    for (int64_t i = 0; i < t.count; i += kTileRows)
      for (int half = 0; half < kTileLanes; half += kHalfLine) {
        VecF32 square[kTileRows];
#pragma GCC unroll 16
        for (int l = 0; l < kHalfLine; ++l)
          square[l] = half + l < t.lanes ? VecF32::load(t.rows + t.offset[half + l] + i) : VecF32::zero();
        transpose(square);
#pragma GCC unroll 16
        for (int r = 0; r < kTileRows; ++r)
          store_parts<parts.kCount>(square[r], t.parts + (i + r) * kTileLanes + half, t.part_stride);
      }
  });
}

// A line of 32 elements is one of 16 pairs: split first, then turned over pair by pair.
inline void pack_pairs(const PairPack& p) {
  split_lines({p.lines, kTileLanes, kTileRows, p.tiles, p.part_stride, p.part_count});
  for (int part = 0; part < p.part_count; ++part) {
    float* pairs = reinterpret_cast<float*>(p.tiles + part * p.part_stride);
    VecF32 square[kTileRows];
#pragma GCC unroll 16
    for (int n = 0; n < kTileRows; ++n) square[n] = VecF32::load(pairs + n * kTileRows);
    transpose(square);
#pragma GCC unroll 16
    for (int r = 0; r < kTileRows; ++r) square[r].store(pairs + r * kTileRows);
  }
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
