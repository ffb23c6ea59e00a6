#include "cpu/winograd_tiles.h"

#include <algorithm>

#include "cpu/pixel_planes.h"

namespace fastconv::cpu {
namespace {

constexpr int64_t kStretch = 3;  // taps

struct Stretch {
  int64_t first;          // of the elements that its tiles read
  int64_t tap[kStretch];  // of the axis, or kNoTap
};

// Adds the first `reach` elements of a line that tiles of m positions read.
void add_elements(const TapMap& line, int64_t step, int m, int64_t reach, AxisGather* tiles) {
  for (int64_t e = 0; e < reach; ++e) {
    TapMap tap;
    tap.offset = line.offset + e * step;
    tap.low = std::clamp<int64_t>(ceil_div(line.low - e, m), 0, tiles->positions);
    tap.high = std::clamp<int64_t>(ceil_div(line.high - e, m), tap.low, tiles->positions);
    for (const auto& [at, source] : line.extra)
      if (at >= e && (at - e) % m == 0 && (at - e) / m < tiles->positions)
        tap.extra.emplace_back((at - e) / m, source);
    tiles->taps.push_back(std::move(tap));
  }
}

bool cut_axis(const AxisGather& axis, int64_t size, int m, AxisGather* tiles,
              std::vector<Stretch>* stretches) {
  AxisCopies lines;
  if (axis.taps.empty() || !share_copies(axis, size, &lines)) return false;
  *tiles = {ceil_div(axis.positions, m), m * axis.step, {}};
  for (std::size_t c = 0; c < lines.copies.size(); ++c) {
    const auto element = static_cast<int64_t>(tiles->taps.size());
    const std::size_t before = stretches->size();
    for (std::size_t t = 0; t < axis.taps.size(); ++t) {
      const AxisCopies::Place& place = lines.taps[t];
      if (place.copy != static_cast<int64_t>(c)) continue;
      const auto at = before + static_cast<std::size_t>(place.shift / kStretch);
      while (stretches->size() <= at) {
        const auto count = static_cast<int64_t>(stretches->size() - before);
        stretches->push_back({element + kStretch * count, {kNoTap, kNoTap, kNoTap}});
      }
      (*stretches)[at].tap[place.shift % kStretch] = static_cast<int64_t>(t);
    }
    add_elements(lines.copies[c], axis.step, m, stretches->back().first - element + m + 2, tiles);
  }
  return true;
}

}  // namespace

int64_t winograd_stretches(int64_t taps, int64_t stride) {
  int64_t stretches = 0;
  for (int64_t phase = 0; phase < std::min(taps, stride); ++phase)
    stretches += ceil_div(ceil_div(taps - phase, stride), kStretch);
  return stretches;
}

PixelGather own_tiles(const ImageView& image, int m) {
  PixelGather g;
  g.source = g.result = image;
  for (int a = 0; a < kAxes; ++a) {
    const int side = a ? m : 1;
    TapMap line;
    line.high = image.size[a];
    g.axis[a] = {ceil_div(image.size[a], side), side, {}};
    add_elements(line, 1, side, side, &g.axis[a]);
  }
  g.kernel_tap.assign(static_cast<std::size_t>(m) * static_cast<std::size_t>(m), 0);
  return g;
}

bool tile_gather(const PixelGather& g, int m, WinogradTiles* tiles) {
  tiles->gather = g;
  std::vector<Stretch> rows, columns;
  AxisGather *row_axis = &tiles->gather.axis[1], *column_axis = &tiles->gather.axis[2];
  if (!cut_axis(g.axis[1], g.source.size[1], m, row_axis, &rows) ||
      !cut_axis(g.axis[2], g.source.size[2], m, column_axis, &columns))
    return false;
  const auto outer = static_cast<int64_t>(g.axis[0].taps.size()),
             height = static_cast<int64_t>(row_axis->taps.size());
  tiles->row = static_cast<int64_t>(column_axis->taps.size());
  // The tiles' taps are no kernel's; their number counts.
  tiles->gather.kernel_tap.assign(static_cast<std::size_t>(outer * height * tiles->row), 0);
  tiles->pieces.clear();
  const auto kernel_rows = static_cast<int64_t>(g.axis[1].taps.size()),
             kernel_columns = static_cast<int64_t>(g.axis[2].taps.size());
  for (int64_t t = 0; t < outer; ++t)
    for (const Stretch& r : rows)
      for (const Stretch& c : columns) {
        WinogradPiece piece;
        piece.first = (t * height + r.first) * tiles->row + c.first;
        for (int64_t i = 0; i < kWinogradTaps; ++i) {
          const int64_t row = r.tap[i / kStretch], column = c.tap[i % kStretch];
          const int64_t at = (t * kernel_rows + row) * kernel_columns + column;
          piece.tap[i] =
              row == kNoTap || column == kNoTap ? kNoTap : g.kernel_tap[static_cast<std::size_t>(at)];
        }
        tiles->pieces.push_back(piece);
      }
  return true;
}

PixelGather piece_gather(const WinogradTiles& tiles, const WinogradPiece& piece, int m) {
  PixelGather g = tiles.gather;
  int64_t first = piece.first;
  for (int a = kAxes - 1; a >= 0; --a) {
    const std::vector<TapMap>& all = tiles.gather.axis[a].taps;
    const auto count = static_cast<int64_t>(all.size());
    const auto begin = all.begin() + first % count;
    g.axis[a].taps.assign(begin, begin + (a ? m + 2 : 1));
    first /= count;
  }
  g.kernel_tap.assign(static_cast<std::size_t>((m + 2) * (m + 2)), 0);
  return g;
}

}  // namespace fastconv::cpu
