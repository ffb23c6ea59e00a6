// Which of its taps the maximum of a window is (PoolRows in contracts/pools.h, once y is there): the first
// one that equals it; of windows with a NaN the first NaN. Looking for it costs less than carrying numbers
// along: maxima are merged in any order, and rows before columns.
#pragma once

#include "cpu/contracts/pools.h"
#include "cpu/kernels/pool_rows.h"
#include "cpu/kernels/small_counts.h"

namespace fastconv::cpu::FASTCONV_ISA {
namespace {

// A row's columns, counted from the first one under the first window: [first, end) lie in the input, and
// windows [low, high) have all their taps there.
struct TapColumns {
  int64_t first, end, low, high, reach;

  explicit TapColumns(const PoolRows& r)
      : first(-r.start), end(r.input - r.start), reach((r.kernel - 1) * r.step) {
    low = first <= 0 ? 0 : (first + r.stride - 1) / r.stride;
    high = end <= reach ? 0 : (end - reach + r.stride - 1) / r.stride;
  }
};

// Whether the elements under `windows` of the row under the cursor, from o on, can be read, needed or not.
inline bool readable_under(const PoolRows& r, const PoolCursor& cursor, const TapColumns& columns, int64_t o,
                           int64_t windows) {
  const int64_t begin = o * r.stride, end = begin + columns.reach + windows * r.stride;
  if (columns.first <= begin && end <= columns.end) return true;
  return cursor.from() + cursor.row().from[0] + r.start + begin >= 0 &&
         readable(r, cursor, begin, end - begin);
}

// The first taps that equal y; load(k, t) gives tap t of row k, and inside(t) says where it counts.
template <class V, int kTaps, class Load, class Inside>
V first_equal(const PoolRows& r, const PoolRow& row, V y, const Load& load, const Inside& inside) {
  using T = typename V::Scalar;
  const int64_t taps = kTaps ? kTaps : r.kernel;
  const V one = V::all(T(1));
  V found = V::zero();
  for (int64_t k = row.from_count; k-- > 0;) {
    V number = V::all(static_cast<T>(row.tap[k] + taps));
#pragma GCC unroll 4
    for (int64_t t = taps - 1; t >= 0; --t) {
      const V x = load(k, t);
      number = number - one;
      found = select(inside((x == y) | is_nan(x), t), number, found);
    }
  }
  return found;
}

// The taps of the row under the cursor, as numbers of the compute type. Writes up to a vector beyond.
template <class V, class S, int kStride, int kTaps>
void find_row(const PoolRows& r, const PoolCursor& cursor, const TapColumns& columns,
              typename V::Scalar* taps) {
  using T = typename V::Scalar;
  static constexpr T kLane[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const PoolRow& row = cursor.row();
  const S* const x = static_cast<const S*>(r.x) + cursor.from() + r.start;
  const S* const y = static_cast<const S*>(r.y) + cursor.to();
  const int64_t stride = kStride ? kStride : r.stride, step = r.step;
  for (int64_t o = 0; o < r.columns; o += V::kLanes) {
    const int count = lanes_left<V>(o, r.columns);
    if (!readable_under(r, cursor, columns, o, V::kLanes)) {
      for (int64_t i = o; i < o + count; ++i) {
        first_equal<V, kTaps>(
            r, row, load_partial_as(y + i, 1, V{}),
            [&](int64_t k, int64_t t) {
              const int64_t at = i * stride + t * step;
              return columns.first <= at && at < columns.end ? load_partial_as(x + row.from[k] + at, 1, V{})
                                                             : lowest<V>();
            },
            [&](auto hit, int64_t t) {
              const int64_t at = i * stride + t * step;
              const bool counts = columns.first <= at && at < columns.end;
              return hit & (V::zero() < V::all(static_cast<T>(counts)));
            })
            .store_partial(taps + i, 1);
      }
      continue;
    }
    const V maxima = load_some<V>(y + o, count);
    const auto under = [&](int64_t k, int64_t t) {
      const S* const from = x + row.from[k];
      return every<V, kStride>([&](int64_t i) { return load_as(from + i, V{}); }, o * stride + t * step,
                               stride);
    };
    if (columns.low <= o && o + count <= columns.high) {
      first_equal<V, kTaps>(r, row, maxima, under, [](auto hit, int64_t) { return hit; }).store(taps + o);
    } else {
      const V column = (V::load(kLane) + V::all(static_cast<T>(o))) * V::all(static_cast<T>(stride));
      first_equal<V, kTaps>(r, row, maxima, under, [&](auto hit, int64_t t) {
        const T before = static_cast<T>(columns.first - 1 - t * step),
                end = static_cast<T>(columns.end - t * step);
        return hit & (V::all(before) < column) & (column < V::all(end));
      }).store(taps + o);
    }
  }
}

template <class T>
void narrow_numbers(const T* __restrict numbers, int64_t count, std::uint8_t* __restrict bytes) {
  for (int64_t i = 0; i < count; ++i) bytes[i] = static_cast<std::uint8_t>(static_cast<int>(numbers[i]));
}

template <class V, class S>
void find_taps(const PoolRows& r) {
  using T = typename V::Scalar;
  T* const line = static_cast<T*>(r.scratch);
  const TapColumns columns(r);
  PoolCursor cursor(r, r.rows);
  const auto find = with_count(Counts<1, 2>(), r.stride, [&](auto stride) {
    return with_count(CountsThatPay<V, S, true, 2, 3>(), r.kernel,
                      [&](auto taps) { return find_row<V, S, stride(), taps()>; });
  });
  const int64_t room = r.dense ? (r.lines * r.pitch - V::kLanes) / r.columns : 1, most = room > 1 ? room : 1;
  for (int64_t left = r.end - r.begin; left > 0; left -= most) {
    const int64_t rows = left < most ? left : most;
    std::uint8_t* const taps = r.taps + cursor.to();
    for (int64_t n = 0; n < rows; ++n, cursor.advance()) find(r, cursor, columns, line + n * r.columns);
    narrow_numbers(line, rows * r.columns, taps);
  }
}

}  // namespace
}  // namespace fastconv::cpu::FASTCONV_ISA
