#include "cpu/pixel_planes.h"

#include <algorithm>
#include <cmath>

#include "core/integers.h"

namespace fastconv::cpu {
namespace {

constexpr int kRowAxis = kAxes - 2, kColumnAxis = kAxes - 1;

// Cycles of a copy, roughly: of a call or a row of it, and of an element.
constexpr double kCyclesPerRow = 15, kCyclesPerElement = 0.5;

// What the taps list outside the line, gathered at the copy's own positions.
void merge_extras(const AxisGather& axis, AxisCopies* r) {
  for (std::size_t t = 0; t < axis.taps.size(); ++t) {
    TapMap& copy = r->copies[static_cast<std::size_t>(r->taps[t].copy)];
    for (const auto& [j, source] : axis.taps[t].extra) copy.extra.emplace_back(j + r->taps[t].shift, source);
  }
  for (TapMap& copy : r->copies) {
    std::sort(copy.extra.begin(), copy.extra.end());
    copy.extra.erase(std::unique(copy.extra.begin(), copy.extra.end()), copy.extra.end());
  }
}

// Whether a tap, read as a shift within the copy, is what it is by itself.
bool agrees(const TapMap& tap, const TapMap& copy, int64_t shift, int64_t positions) {
  const auto shifted = [&](int64_t at) { return std::clamp<int64_t>(at - shift, 0, positions); };
  if (shifted(copy.high) > shifted(copy.low) || tap.high > tap.low) {
    if (shifted(copy.low) != tap.low || shifted(copy.high) != tap.high) return false;
  }
  auto own = tap.extra.begin();
  for (const auto& [at, source] : copy.extra) {
    if (at < shift || at >= shift + positions) continue;
    if (own == tap.extra.end() || own->first != at - shift || own->second != source) return false;
    ++own;
  }
  return own == tap.extra.end();
}

// Whether the halo rows between two segments are worth the end of a panel.
bool segments_are_apart(const PlaneLayout& layout, int nr) {
  return layout.axis[kRowAxis].halo * layout.width() >= nr;
}

// Whole lines of the cache, an odd number: neighbouring planes keep out of each other's sets. A vector may be
// read beyond the last position.
int64_t plane_elements(const PlaneLayout& layout, int64_t rows, int nr) {
  constexpr int64_t kLine = 16;
  return (ceil_div(rows * layout.width() + layout.axis[kColumnAxis].halo + nr, kLine) | 1) * kLine;
}

int64_t most_segments(const PlaneLayout& layout, int64_t image_rows) {
  return layout.rows == 1 ? 1 : (layout.rows - 2) / image_rows + 2;
}

// Sizes of the blocks for `pieces` of a row, and the cycles that a pixel then costs for each channel.
double size_blocks(const PixelGather& g, const GemmKernels& k, int64_t filters, const PlaneBudget& budget,
                   int64_t pieces, PlaneLayout* layout) {
  const int64_t row_count = g.axis[kRowAxis].positions, row_halo = layout->axis[kRowAxis].halo;
  const int64_t all_rows = g.source.batch * g.axis[0].positions * row_count;
  layout->columns = ceil_div(g.axis[kColumnAxis].positions, pieces);
  if (pieces > 1) layout->columns = round_up(layout->columns, k.nr);
  layout->row_pieces = ceil_div(g.axis[kColumnAxis].positions, layout->columns);
  const int64_t width = layout->width(), copies = layout->copies();
  const int64_t room = budget.elements / std::max<int64_t>(1, budget.channels * copies * width) - row_halo;
  layout->rows = even_part(all_rows, std::min(room, budget.positions / width));
  layout->blocks = ceil_div(all_rows, layout->rows) * layout->row_pieces;

  const int64_t segments = most_segments(*layout, row_count);
  const int64_t plane_rows = layout->rows + segments * row_halo;
  const bool apart = segments_are_apart(*layout, k.nr);
  layout->positions = apart ? layout->rows * width + segments * (k.nr - 1) : (plane_rows - row_halo) * width;
  layout->elements = plane_elements(*layout, plane_rows, k.nr);

  const double usual_segments =
      std::max(1.0, static_cast<double>(layout->rows) / static_cast<double>(row_count));
  const int64_t segment_rows = std::min(layout->rows, row_count);
  const double panels = apart ? usual_segments * static_cast<double>(ceil_div(segment_rows * width, k.nr))
                              : static_cast<double>(ceil_div(layout->positions, k.nr));
  const double products = panels * static_cast<double>(filters * g.taps());
  const double copied_rows =
      static_cast<double>(layout->rows) + usual_segments * static_cast<double>(row_halo);
  const double cycles = products + static_cast<double>(copies) * copied_rows *
                                       (kCyclesPerRow + kCyclesPerElement * static_cast<double>(width));
  const double excess = static_cast<double>(budget.channels * copies * layout->elements) /
                        static_cast<double>(std::max<int64_t>(1, budget.elements));
  return cycles * std::max(1.0, excess) / static_cast<double>(layout->rows * layout->columns);
}

}  // namespace

bool share_copies(const AxisGather& axis, int64_t size, AxisCopies* r, int64_t least_halo) {
  std::vector<int64_t> phases, first;
  r->halo = least_halo;
  for (const TapMap& tap : axis.taps) {
    const int64_t phase = tap.offset - floor_div(tap.offset, axis.step) * axis.step;
    const auto found = std::find(phases.begin(), phases.end(), phase);
    const auto copy = static_cast<std::size_t>(found - phases.begin());
    if (found == phases.end()) {
      phases.push_back(phase);
      first.push_back(tap.offset);
    }
    first[copy] = std::min(first[copy], tap.offset);
    r->taps.push_back({static_cast<int64_t>(copy), tap.offset});
  }
  for (AxisCopies::Place& place : r->taps) {
    place.shift = (place.shift - first[static_cast<std::size_t>(place.copy)]) / axis.step;
    r->halo = std::max(r->halo, place.shift);
  }
  for (const int64_t offset : first) {
    TapMap copy;
    copy.offset = offset;
    clip_to_source(&copy, axis.positions + r->halo, axis.step, size);
    r->copies.push_back(std::move(copy));
  }
  merge_extras(axis, r);
  for (std::size_t t = 0; t < axis.taps.size(); ++t) {
    const AxisCopies::Place& place = r->taps[t];
    if (!agrees(axis.taps[t], r->copies[static_cast<std::size_t>(place.copy)], place.shift, axis.positions))
      return false;
  }
  return true;
}

AxisCopies copy_each_tap(const AxisGather& axis) {
  AxisCopies r;
  r.copies = axis.taps;
  for (std::size_t t = 0; t < axis.taps.size(); ++t) r.taps.push_back({static_cast<int64_t>(t), 0});
  return r;
}

bool seen_alike(const std::vector<PixelGather>& gathers) {
  const auto alike = [](const ImageView& a, const ImageView& b) {
    return a.batch == b.batch && std::equal(a.stride, a.stride + kAxes, b.stride);
  };
  return std::all_of(gathers.begin(), gathers.end(), [&](const PixelGather& g) {
    return alike(g.source, gathers[0].source) && alike(g.result, gathers[0].result);
  });
}

bool read_as_line(const std::vector<PixelGather>& gathers, int a, AxisGather* line, AxisCopies* copies) {
  const int64_t size = gathers[0].source.size[a];
  for (const PixelGather& g : gathers)
    line->positions = std::max(line->positions, (g.axis[a].positions - 1) * g.axis[a].step + 1);
  for (const PixelGather& g : gathers)
    for (const TapMap& tap : g.axis[a].taps) {
      TapMap unit;
      unit.offset = tap.offset;
      if (tap.low < tap.high) clip_to_source(&unit, line->positions, 1, size);
      for (const auto& [j, source] : tap.extra) unit.extra.emplace_back(j * g.axis[a].step, source);
      line->taps.push_back(std::move(unit));
    }
  return share_copies(*line, size, copies);
}

PlaneLayout lay_out_planes(const PixelGather& g, const GemmKernels& k, int64_t filters,
                           const PlaneBudget& budget) {
  AxisCopies each[kAxes], shared[kAxes];
  bool shares[kAxes] = {};
  for (int a = 0; a < kAxes; ++a) {
    each[a] = copy_each_tap(g.axis[a]);
    shares[a] = a != 0 && g.axis[a].taps.size() > 1 && share_copies(g.axis[a], g.source.size[a], &shared[a]);
  }
  PlaneLayout best;
  double least = 0;
  const int64_t columns = g.axis[kColumnAxis].positions;
  const int64_t least_pieces =
      columns <= budget.most_pixels ? 1 : ceil_div(columns, budget.most_pixels / k.nr * k.nr);
  const int64_t most_pieces = std::max(least_pieces, columns / (2 * k.nr));
  for (const bool share_rows : {false, true})
    for (const bool share_columns : {false, true}) {
      if ((share_rows && !shares[kRowAxis]) || (share_columns && !shares[kColumnAxis])) continue;
      PlaneLayout layout;
      layout.axis[0] = each[0];
      layout.axis[kRowAxis] = share_rows ? shared[kRowAxis] : each[kRowAxis];
      layout.axis[kColumnAxis] = share_columns ? shared[kColumnAxis] : each[kColumnAxis];
      for (int64_t pieces = least_pieces; pieces <= most_pieces; pieces += std::max<int64_t>(1, pieces / 4)) {
        const double cost = size_blocks(g, k, filters, budget, pieces, &layout);
        if (layout.rows * layout.columns > budget.most_pixels) continue;
        if (best.blocks == 0 || cost < least) {
          least = cost;
          best = layout;
        }
      }
    }
  return best;
}

RowsLayout lay_out_rows(const PixelGather& g, const GemmKernels& k, int64_t filters, int64_t lanes,
                        int64_t longest) {
  constexpr double kProductsPerCycle = 1.5, kProductsOfRow = 0.5;  // of vectors
  const int64_t columns = g.axis[kColumnAxis].positions, pieces = ceil_div(columns, longest * lanes);
  RowsLayout best{};
  for (const bool share : {false, true}) {
    PlaneLayout layout;
    for (int a = 0; a < kAxes; ++a) {
      const bool shares = a == kRowAxis || (a == kColumnAxis && share);
      if (!shares || !share_copies(g.axis[a], g.source.size[a], &layout.axis[a]))
        layout.axis[a] = copy_each_tap(g.axis[a]);
    }
    const int64_t halo = layout.axis[kColumnAxis].halo, vectors = ceil_div(columns, lanes);
    const int64_t most = halo ? (columns + halo) * std::max<int64_t>(1, longest / vectors) : longest * lanes;
    size_blocks(g, k, filters, {most, INT64_MAX, 1}, pieces, &layout);
    const auto rows = static_cast<double>(std::min(layout.rows, g.axis[kRowAxis].positions)),
               width = static_cast<double>(layout.width()),
               pixels = rows * static_cast<double>(layout.columns);
    const double runs = halo ? rows : 1;
    const double products = runs * (kProductsOfRow + std::ceil(pixels / runs / static_cast<double>(lanes))) *
                            static_cast<double>(filters * g.taps());
    const double copied_rows =
        static_cast<double>(layout.copies()) * (rows + static_cast<double>(layout.axis[kRowAxis].halo));
    const double cycles =
        products / kProductsPerCycle + copied_rows * (kCyclesPerRow + kCyclesPerElement * width);
    if (!share || cycles / pixels < best.cycles) best = {std::move(layout), cycles / pixels};
  }
  return best;
}

namespace {

PlaneLayout in_same_blocks(const PlaneLayout& layout, const PixelGather& g, const GemmKernels& k,
                           bool same_halos) {
  PlaneLayout same = layout;
  same.axis[0] = copy_each_tap(g.axis[0]);
  for (const int a : {kRowAxis, kColumnAxis}) {
    const int64_t halo = layout.axis[a].halo;
    same.axis[a] = {};
    const bool shares = share_copies(g.axis[a], g.source.size[a], &same.axis[a], same_halos ? halo : 0);
    if (!shares || (same_halos && same.axis[a].halo > halo)) same.axis[a] = copy_each_tap(g.axis[a]);
  }
  const int64_t halo_rows = most_segments(same, g.axis[kRowAxis].positions) * same.axis[kRowAxis].halo;
  same.positions = (same.rows + halo_rows) * same.width();
  same.elements = plane_elements(same, same.rows + halo_rows, k.nr);
  return same;
}

}  // namespace

PlaneLayout same_blocks(const PlaneLayout& layout, const PixelGather& g, const GemmKernels& k) {
  return in_same_blocks(layout, g, k, false);
}

PlaneLayout same_planes(const PlaneLayout& layout, const PixelGather& g, const GemmKernels& k) {
  return in_same_blocks(layout, g, k, true);
}

void cut_into_segments(const PixelGather& g, const PlaneLayout& layout, int64_t block,
                       std::vector<PixelSegment>* segments) {
  segments->clear();
  const int64_t n0 = g.axis[0].positions, n1 = g.axis[kRowAxis].positions, n2 = g.axis[kColumnAxis].positions;
  PixelSegment s;
  s.position[kColumnAxis] = block % layout.row_pieces * layout.columns;
  s.columns = std::min(layout.columns, n2 - s.position[kColumnAxis]);
  s.start = 0;
  int64_t row = block / layout.row_pieces * layout.rows;
  const int64_t end = std::min(row + layout.rows, g.source.batch * n0 * n1);
  while (row < end) {
    s.image = row / (n0 * n1);
    s.position[0] = row / n1 % n0;
    s.position[kRowAxis] = row % n1;
    s.rows = std::min(end - row, n1 - s.position[kRowAxis]);
    segments->push_back(s);
    row += s.rows;
    s.start += (s.rows + layout.axis[kRowAxis].halo) * layout.width();
  }
}

int64_t positions_of(const PlaneLayout& layout, const std::vector<PixelSegment>& segments) {
  const PixelSegment& last = segments.back();
  return last.start + (last.rows - 1) * layout.width() + last.columns;
}

void panels_of(const PlaneLayout& layout, const std::vector<PixelSegment>& segments, int nr,
               std::vector<ColumnPanel>* panels) {
  panels->clear();
  const bool apart = segments_are_apart(layout, nr);
  for (std::size_t first = 0; first < segments.size();) {
    const std::size_t last = apart ? first : segments.size() - 1;
    const PixelSegment& s = segments[last];
    const int64_t end = s.start + (s.rows - 1) * layout.width() + s.columns;
    for (int64_t at = segments[first].start; at < end; at += nr)
      panels->push_back({at, static_cast<int>(std::min<int64_t>(nr, end - at))});
    first = last + 1;
  }
}

void sources_of(const PixelGather& g, const PlaneLayout& layout, const std::vector<PixelSegment>& segments,
                const std::vector<ColumnPanel>& panels, std::vector<int64_t>* sources) {
  sources->clear();
  if (g.taps() == 0) return;
  std::size_t segment = 0;
  for (const ColumnPanel& panel : panels) {
    while (segment + 1 < segments.size() && panel.start >= segments[segment + 1].start) ++segment;
    const PixelSegment& s = segments[segment];
    const int64_t at = panel.start - s.start;
    const int64_t row = std::min(at / layout.width(), s.rows - 1),
                  column = std::min(at % layout.width(), s.columns - 1);
    const int64_t position[kAxes] = {s.position[0], s.position[1] + row, s.position[2] + column};
    sources->push_back(source_near(g, s.image, position));
  }
}

void runs_of(const PixelGather& g, const PlaneLayout& layout, const std::vector<PixelSegment>& segments,
             std::vector<PixelRun>* runs) {
  runs->clear();
  const ImageView& r = g.result;
  const int64_t step = r.stride[kColumnAxis];
  for (const PixelSegment& s : segments) {
    int64_t at = s.image * r.batch_stride;
    for (int a = 0; a < kAxes; ++a) at += s.position[a] * r.stride[a];
    for (int64_t row = 0; row < s.rows; ++row, at += r.stride[kRowAxis]) {
      const int64_t start = s.start + row * layout.width();
      if (!runs->empty() && runs->back().start + runs->back().count == start &&
          runs->back().result + runs->back().count * step == at) {
        runs->back().count += s.columns;
      } else {
        runs->push_back({start, s.columns, at});
      }
    }
  }
}

void feature_offsets(const PlaneLayout& layout, int64_t taps, int64_t first_channel, int64_t begin,
                     int64_t count, int64_t* offsets) {
  const AxisCopies &a0 = layout.axis[0], &a1 = layout.axis[kRowAxis], &a2 = layout.axis[kColumnAxis];
  const auto n1 = static_cast<int64_t>(a1.taps.size()), n2 = static_cast<int64_t>(a2.taps.size());
  const auto c1 = static_cast<int64_t>(a1.copies.size()), c2 = static_cast<int64_t>(a2.copies.size());
  const int64_t per_channel = layout.copies() * layout.elements;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t feature = begin + i, tap = feature % taps;
    const AxisCopies::Place& p0 = a0.taps[static_cast<std::size_t>(tap / (n1 * n2))];
    const AxisCopies::Place& p1 = a1.taps[static_cast<std::size_t>(tap / n2 % n1)];
    const AxisCopies::Place& p2 = a2.taps[static_cast<std::size_t>(tap % n2)];
    offsets[i] = (feature / taps - first_channel) * per_channel +
                 ((p0.copy * c1 + p1.copy) * c2 + p2.copy) * layout.elements + p1.shift * layout.width() +
                 p2.shift;
  }
}

}  // namespace fastconv::cpu
