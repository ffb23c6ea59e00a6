#include "cpu/winograd_tiles.h"

#include <algorithm>

#include "core/integers.h"
#include "cpu/pixel_planes.h"

namespace fastconv::cpu {
namespace {

// What the positions read together, as one line: element e of it is what position j reads through the tap of
// shift e - j. `order` holds the taps by their shift.
bool read_as_line(const AxisGather& axis, int64_t size, TapMap* line, std::vector<std::size_t>* order) {
  AxisCopies shared;
  if (axis.step != 1 || axis.taps.size() != 3 || !share_copies(axis, size, &shared) || shared.halo != 2)
    return false;
  order->assign(3, 0);
  for (std::size_t t = 0; t < 3; ++t) (*order)[static_cast<std::size_t>(shared.taps[t].shift)] = t;
  *line = shared.copies[0];
  return true;
}

// Tiles of m positions that read `reach` elements of the line.
AxisGather cut_into_tiles(const TapMap& line, int64_t positions, int m, int64_t reach) {
  AxisGather axis;
  axis.positions = ceil_div(positions, m);
  axis.step = m;
  for (int64_t e = 0; e < reach; ++e) {
    TapMap tap;
    tap.offset = line.offset + e;
    tap.low = std::clamp<int64_t>(ceil_div(line.low - e, m), 0, axis.positions);
    tap.high = std::clamp<int64_t>(ceil_div(line.high - e, m), tap.low, axis.positions);
    for (const auto& [at, source] : line.extra)
      if (at >= e && (at - e) % m == 0 && (at - e) / m < axis.positions)
        tap.extra.emplace_back((at - e) / m, source);
    axis.taps.push_back(std::move(tap));
  }
  return axis;
}

}  // namespace

PixelGather own_tiles(const ImageView& image, int m) {
  PixelGather g;
  g.source = g.result = image;
  for (int a = 0; a < kAxes; ++a) {
    TapMap line;
    line.high = image.size[a];
    g.axis[a] = cut_into_tiles(line, image.size[a], a ? m : 1, a ? m : 1);
  }
  g.kernel_tap.assign(static_cast<std::size_t>(m) * static_cast<std::size_t>(m), 0);
  return g;
}

bool tile_gather(const PixelGather& g, int m, PixelGather* tiles, std::vector<int64_t>* kernel_tap) {
  TapMap line[2];
  std::vector<std::size_t> order[2];
  for (int a = 0; a < 2; ++a)
    if (!read_as_line(g.axis[a + 1], g.source.size[a + 1], &line[a], &order[a])) return false;
  *tiles = g;
  for (int a = 0; a < 2; ++a) tiles->axis[a + 1] = cut_into_tiles(line[a], g.axis[a + 1].positions, m, m + 2);
  const std::size_t outer = g.axis[0].taps.size(), tile = static_cast<std::size_t>(m) + 2;
  tiles->kernel_tap.assign(outer * tile * tile, 0);  // the tiles' taps are no kernel's; their number counts
  kernel_tap->clear();
  for (std::size_t t = 0; t < outer; ++t)
    for (const std::size_t i : order[0])
      for (const std::size_t j : order[1]) kernel_tap->push_back(g.kernel_tap[(t * 3 + i) * 3 + j]);
  return true;
}

}  // namespace fastconv::cpu
