// Pixel planes: in every layout, each pixel of each block stands once, and a shift leads from it to what the
// gather says that a tap reads.
#include <vector>

#include "check.h"
#include "core/conv_as_gemm.h"
#include "cpu/packing.h"
#include "runnable_isas.h"

namespace fastconv::test {
namespace {

using cpu::PlaneLayout;
using std::int64_t;

struct Seen {
  bool shared_rows = false, shared_columns = false, apart = false, phases = false, pieces = false,
       segments = false;
};

ImageView view_of(std::vector<float>* data, int64_t batch, int64_t channels, const int64_t (&size)[kAxes]) {
  ImageView v;
  v.batch = batch;
  v.channels = channels;
  int64_t stride = 1;
  for (int a = kAxes - 1; a >= 0; --a) {
    v.size[a] = size[a];
    v.stride[a] = stride;
    stride *= size[a];
  }
  v.channel_stride = stride;
  v.batch_stride = stride * channels;
  for (int64_t i = 0; i < v.batch_stride * batch; ++i) data->push_back(static_cast<float>(i % 251 + 1));
  v.data = data->data();
  return v;
}

std::vector<int64_t> sources(const AxisGather& axis, const TapMap& tap, int64_t j) {
  std::vector<int64_t> r;
  if (tap.low <= j && j < tap.high) r.push_back(j * axis.step + tap.offset);
  for (const auto& [position, source] : tap.extra)
    if (position == j) r.push_back(source);
  return r;
}

float gathered(const PixelGather& g, int64_t channel, int64_t image, const int64_t (&j)[kAxes], int64_t tap) {
  int64_t t[kAxes];
  for (int a = kAxes - 1; a >= 0; --a) {
    const auto taps = static_cast<int64_t>(g.axis[a].taps.size());
    t[a] = tap % taps;
    tap /= taps;
  }
  std::vector<int64_t> of[kAxes];
  for (int a = 0; a < kAxes; ++a)
    of[a] = sources(g.axis[a], g.axis[a].taps[static_cast<std::size_t>(t[a])], j[a]);
  float sum = 0;
  const ImageView& s = g.source;
  for (const int64_t i0 : of[0])
    for (const int64_t i1 : of[1])
      for (const int64_t i2 : of[2])
        sum += static_cast<const float*>(s.data)[image * s.batch_stride + channel * s.channel_stride +
                                                 i0 * s.stride[0] + i1 * s.stride[1] + i2 * s.stride[2]];
  return sum;
}

void check_layout(const cpu::KernelTable& table, const PixelGather& gather, int64_t filters,
                  const cpu::PlaneBudget& budget, Seen* seen) {
  PixelGather g = gather;  // with a result in which a pixel's place is its number
  int64_t stride = 1;
  for (int a = kAxes - 1; a >= 0; --a) {
    g.result.stride[a] = stride;
    stride *= g.axis[a].positions;
  }
  g.result.batch_stride = stride;
  const PlaneLayout layout = cpu::lay_out_planes(g, table.gemm[0], filters, budget);
  const int64_t channels = g.source.channels, taps = g.taps();
  std::vector<int64_t> offsets(static_cast<std::size_t>(channels * taps));
  cpu::feature_offsets(layout, taps, 0, 0, channels * taps, offsets.data());
  seen->shared_rows = seen->shared_rows || layout.axis[1].halo > 0;
  seen->shared_columns = seen->shared_columns || layout.axis[2].halo > 0;
  seen->apart = seen->apart || (layout.axis[2].halo == 0 && g.axis[2].taps.size() > 1);
  seen->phases = seen->phases || (layout.axis[2].halo > 0 && layout.axis[2].copies.size() > 1);
  seen->pieces = seen->pieces || layout.row_pieces > 1;

  std::vector<int> times(static_cast<std::size_t>(g.pixels()));
  std::vector<cpu::PixelSegment> segments;
  std::vector<cpu::PixelRun> runs;
  std::vector<cpu::ColumnPanel> panels;
  for (int64_t block = 0; block < layout.blocks; ++block) {
    std::vector<float> planes(static_cast<std::size_t>(channels * layout.copies() * layout.elements), -1.f);
    cpu::cut_into_segments(g, layout, block, &segments);
    cpu::pack_planes(table, g, layout, segments, 0, channels, {}, planes.data());
    cpu::runs_of(g, layout, segments, &runs);
    seen->segments = seen->segments || segments.size() > 1;
    const int64_t positions = cpu::positions_of(layout, segments);
    cpu::panels_of(layout, segments, table.gemm[0].nr, &panels);
    CHECK(static_cast<int64_t>(panels.size()) * table.gemm[0].nr <= layout.positions + table.gemm[0].nr - 1,
          "%zu panels", panels.size());
    CHECK(runs.back().start + runs.back().count == positions, "the last pixel is the last position");
    for (const cpu::PixelRun& run : runs)
      for (int64_t i = 0; i < run.count; ++i) {
        const int64_t pixel = run.result + i;
        ++times[static_cast<std::size_t>(pixel)];
        int held = 0;
        for (const cpu::ColumnPanel& panel : panels)
          held += panel.start <= run.start + i && run.start + i < panel.start + panel.columns;
        CHECK(held == 1, "pixel %lld is in %d panels", static_cast<long long>(pixel), held);
        const int64_t n2 = g.axis[2].positions, n1 = g.axis[1].positions, n0 = g.axis[0].positions;
        const int64_t j[kAxes] = {pixel / (n2 * n1) % n0, pixel / n2 % n1, pixel % n2};
        for (int64_t f = 0; f < channels * taps; ++f) {
          const int64_t at = offsets[static_cast<std::size_t>(f)] + run.start + i;
          const float want = gathered(g, f / taps, pixel / (n0 * n1 * n2), j, f % taps);
          CHECK(planes[static_cast<std::size_t>(at)] == want, "pixel %lld feature %lld: %g, not %g",
                static_cast<long long>(pixel), static_cast<long long>(f),
                static_cast<double>(planes[static_cast<std::size_t>(at)]), static_cast<double>(want));
        }
      }
    // A vector that starts at the last position stays within the plane.
    const int64_t reach = (layout.axis[1].halo) * layout.width() + layout.axis[2].halo;
    CHECK(positions - 1 + reach + table.gemm[0].nr <= layout.elements, "%lld elements",
          static_cast<long long>(layout.elements));
  }
  for (const int n : times) CHECK(n == 1, "a pixel stands %d times", n);
}

void check_problem(const cpu::KernelTable& table, const ConvProblem& p, Seen* seen) {
  std::vector<float> x, y;
  const ImageView input = view_of(&x, p.batch, p.in_channels, p.input),
                  output = view_of(&y, p.batch, p.out_channels, p.output);
  std::vector<PixelGather> gathers = input_gradient_gathers(p, output, input).phases;
  gathers.push_back(forward_gather(p, input, output));
  for (const PixelGather& g : gathers)
    for (const int64_t filters : {1, 100000})
      for (const int64_t positions : {1, 40, 4096})
        for (const int64_t elements : {2000, 1 << 20})
          check_layout(table, g, filters, {positions, elements, g.source.channels}, seen);
}

ConvProblem problem(int64_t d, int64_t h, int64_t w, int64_t kernel, int64_t stride, int64_t dilation,
                    int64_t before, int64_t after, PaddingMode mode) {
  ConvProblem p;
  p.rank = 3;
  p.batch = 3;
  p.in_channels = 2;
  p.out_channels = 2;
  p.mode = mode;
  const int64_t size[kAxes] = {d, h, w};
  for (int a = 0; a < kAxes; ++a) {
    const bool flat = size[a] == 1;
    p.input[a] = size[a];
    p.kernel[a] = flat ? 1 : kernel;
    p.stride[a] = flat ? 1 : stride;
    p.dilation[a] = flat ? 1 : dilation;
    p.pad_before[a] = flat ? 0 : before;
    p.pad_after[a] = flat ? 0 : after;
    p.output[a] =
        (size[a] + p.pad_before[a] + p.pad_after[a] - p.dilation[a] * (p.kernel[a] - 1) - 1) / p.stride[a] +
        1;
  }
  return p;
}

}  // namespace
}  // namespace fastconv::test

int main() {
  using namespace fastconv::test;
  using fastconv::PaddingMode;
  Seen seen;
  for (const Isa& isa : runnable_isas()) {
    for (const PaddingMode mode :
         {PaddingMode::zeros, PaddingMode::reflect, PaddingMode::replicate, PaddingMode::circular})
      for (const std::int64_t stride : {1, 2, 3})
        for (const std::int64_t dilation : {1, 2}) {
          if (dilation == 2 && mode != PaddingMode::zeros && mode != PaddingMode::reflect) continue;
          check_problem(*isa.table, problem(1, 1, 67, 4, stride, dilation, 2, 1, mode), &seen);
          check_problem(*isa.table, problem(1, 7, 9, 3, stride, dilation, 1, 2, mode), &seen);
          check_problem(*isa.table, problem(1, 5, 67, 3, stride, dilation, 0, 0, mode), &seen);
          check_problem(*isa.table, problem(3, 5, 4, 2, stride, dilation, 1, 0, mode), &seen);
        }
    check_problem(*isa.table, problem(1, 6, 5, 1, 1, 1, 0, 0, PaddingMode::zeros), &seen);
  }
  CHECK(seen.shared_rows && seen.shared_columns && seen.apart && seen.phases && seen.pieces && seen.segments,
        "seen: rows %d columns %d apart %d phases %d pieces %d segments %d", seen.shared_rows,
        seen.shared_columns, seen.apart, seen.phases, seen.pieces, seen.segments);
  return finish("pixel planes");
}
