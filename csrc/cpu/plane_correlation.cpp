// The weight gradient of few filters or channels: planes of x, as for pixel products, and dy as it lies,
// multiplied by vectors along the pixels (kernels/correlation.h).
#include <algorithm>

#include "cpu/implicit_gemm.h"
#include "cpu/packed_product.h"
#include "cpu/packing.h"
#include "cpu/parallel.h"

namespace fastconv::cpu {
namespace {

constexpr int kColumnAxis = kAxes - 1;

struct CorrelationShape {
  PlaneLayout planes;
  int64_t lanes;
  bool one_line;              // nothing lies between rows, in planes and in dy
  bool in_place;              // dy needs no copy
  int64_t filters, channels;  // of a group
  int64_t chunk;              // channels at a time
  int64_t taps, slices;
};

// A lane adds up at most about so many products in a row: those of a block.
constexpr int64_t kLongestChain = 128;

RowsLayout lay_out(const Machine& machine, const PixelGather& x, int64_t groups) {
  const bool wide = compute_dtype(x.source.dtype) == Dtype::float64;
  return lay_out_rows(x, machine.table->gemm[wide], x.result.channels / groups,
                      machine.table->correlation[wide].lanes, kLongestChain);
}

CorrelationShape shape_of(const Machine& machine, const PixelGather& x, int64_t groups, bool wide) {
  constexpr int64_t kWantedTasks = 32, kLeastSlice = 2048;
  const int64_t element_bytes = wide ? 8 : 4;
  const ImageView& dy = x.result;
  CorrelationShape s;
  s.lanes = machine.table->correlation[wide].lanes;
  s.filters = dy.channels / groups;
  s.channels = x.source.channels / groups;
  s.planes = lay_out(machine, x, groups).planes;
  s.taps = x.taps();
  s.one_line = s.planes.width() == x.axis[kColumnAxis].positions;
  s.in_place = dy.dtype == compute_dtype(dy.dtype) && dy.stride[kColumnAxis] == 1 &&
               (!s.one_line || dy.stride[kColumnAxis - 1] == s.planes.width());
  // Planes and sums of a chunk share L2 with dy.
  const int64_t channel_bytes =
      (s.planes.copies() * s.planes.elements + s.filters * s.taps * s.lanes) * element_bytes;
  s.chunk = even_part(s.channels, machine.caches.l2 / 2 / std::max<int64_t>(1, channel_bytes));
  s.slices = std::max<int64_t>(
      1, std::min({ceil_div(kWantedTasks, groups), x.pixels() / kLeastSlice, s.planes.blocks}));
  return s;
}

template <class T>
struct Scratch {
  T *planes, *values, *sums;
  int64_t* offsets;
};
template <class T>
Scratch<T> carve_scratch(Carver* carver, const CorrelationShape& s) {
  const int64_t features = s.chunk * s.taps;
  Scratch<T> r;
  r.planes = carver->take<T>(s.chunk * s.planes.copies() * s.planes.elements);
  r.values = carver->take<T>(s.in_place ? 0 : s.filters * s.planes.rows * s.planes.columns);
  r.sums = carver->take<T>(s.filters * features * s.lanes);
  r.offsets = carver->take<int64_t>(features);
  return r;
}

template <class T>
class PlaneCorrelation : public Product {
 public:
  PlaneCorrelation(const Machine& machine, PixelGather x, int64_t groups, const FilterView& dw)
      : machine_(machine),
        x_(std::move(x)),
        shape_(shape_of(machine, x_, groups, sizeof(T) == 8)),
        groups_(groups),
        sum_bytes_(SliceSums<T>::bytes(shape_.slices, dw)) {
    Carver measure;
    carve_scratch<T>(&measure, shape_);
    scratch_ = measure.used();
  }

  void bind(void* source, void* result) override { x_.bind(source, result); }

  void run(const FilterView& dw, const Epilogue&) override {
    const int64_t chunks = ceil_div(shape_.channels, shape_.chunk);
    const SliceSums<T> sums(shape_.slices, dw);
    const Buffer workspace(scratch_ * machine_.threads);
    const auto products = static_cast<double>(dw.filters * dw.channels * dw.taps);
    parallel_for(groups_ * chunks * shape_.slices,
                 2 * kNsPerFlop * products * static_cast<double>(x_.pixels()), machine_.threads,
                 [&](int64_t task, int worker) {
                   Carver carver(workspace.as<char>() + worker * scratch_);
                   const int64_t slice = task % shape_.slices, chunk = task / shape_.slices % chunks;
                   correlate(task / shape_.slices / chunks, chunk * shape_.chunk, slice,
                             carve_scratch<T>(&carver, shape_), sums.of(slice));
                 });
    sums.add_up(machine_);
  }

  int64_t workspace_bytes() const override { return sum_bytes_ + machine_.threads * scratch_; }
  std::vector<Figure> figures() const override {
    return {{"positions", shape_.planes.rows * shape_.planes.columns},
            {"channels", shape_.chunk},
            {"slices", shape_.slices}};
  }

 private:
  // Some channels of a group, summed up over one slice of the blocks, into `to` (laid out as dw).
  void correlate(int64_t group, int64_t first_channel, int64_t slice, const Scratch<T>& scratch,
                 T* to) const {
    const CorrelationShape& s = shape_;
    const KernelTable& table = *machine_.table;
    const int64_t channels = std::min(s.chunk, s.channels - first_channel), taps = s.taps,
                  features = channels * taps;
    std::fill(scratch.sums, scratch.sums + s.filters * features * s.lanes, T(0));
    feature_offsets(s.planes, taps, 0, 0, features, scratch.offsets);
    std::vector<PixelSegment> segments;
    std::vector<CorrelationRows> stretches;
    const int64_t blocks = s.planes.blocks;
    for (int64_t block = blocks * slice / s.slices; block < blocks * (slice + 1) / s.slices; ++block) {
      cut_into_segments(x_, s.planes, block, &segments);
      pack_planes(table, x_, s.planes, segments, group * s.channels + first_channel, channels, {},
                  scratch.planes);
      Correlation c{};
      c.planes = scratch.planes;
      c.plane_row_step = s.planes.width();
      c.offset = scratch.offsets;
      c.features = features;
      c.lines = s.filters;
      c.sums = scratch.sums;
      read_values(group, segments, scratch.values, &c, &stretches);
      c.stretches = stretches.data();
      c.stretch_count = static_cast<int64_t>(stretches.size());
      table.correlation[sizeof(T) == 8].correlate(c);
    }
    for (int64_t k = 0; k < s.filters; ++k) {
      const T* from = scratch.sums + k * features * s.lanes;
      T* line = to + ((group * s.filters + k) * s.channels + first_channel) * taps;
      for (int64_t i = 0; i < features; ++i, from += s.lanes) {
        T sum = from[0];
        for (int64_t lane = 1; lane < s.lanes; ++lane) sum += from[lane];
        line[i] = sum;
      }
    }
  }

  // dy of a block: where it lies, or copied.
  void read_values(int64_t group, const std::vector<PixelSegment>& segments, T* values, Correlation* c,
                   std::vector<CorrelationRows>* stretches) const {
    const CorrelationShape& s = shape_;
    const ImageView& dy = x_.result;
    const int64_t first = group * s.filters * dy.channel_stride;
    const void* const data = dy.data;
    c->values = s.in_place ? static_cast<const void*>(element(data, dy.dtype, first)) : values;
    c->value_row_step = s.in_place ? dy.stride[kColumnAxis - 1] : s.planes.columns;
    c->line_step = s.in_place ? dy.channel_stride : s.planes.rows * s.planes.columns;
    stretches->clear();
    int64_t row = 0;
    for (const PixelSegment& segment : segments) {
      int64_t at = segment.image * dy.batch_stride;
      for (int a = 0; a < kAxes; ++a) at += segment.position[a] * dy.stride[a];
      if (!s.in_place) {
        for (int64_t k = 0; k < s.filters; ++k)
          machine_.table->copy_block[static_cast<int>(dy.dtype)](
              {element(data, dy.dtype, first + k * dy.channel_stride + at), dy.stride[kColumnAxis - 1],
               dy.stride[kColumnAxis], values + k * c->line_step + row * s.planes.columns, s.planes.columns,
               1, segment.rows, segment.columns, false});
        at = row * s.planes.columns;
      }
      stretches->push_back({segment.start, at, segment.rows, segment.columns});
      if (s.one_line) stretches->back() = {segment.start, at, 1, segment.rows * segment.columns};
      row += segment.rows;
    }
  }

  const Machine machine_;
  PixelGather x_;
  const CorrelationShape shape_;
  const int64_t groups_, sum_bytes_;
  int64_t scratch_ = 0;
};

}  // namespace

bool suits_correlation(const Machine& machine, const PixelGather& x, int64_t groups) {
  if (channels_adjacent(x.source) || x.pixels() == 0 || x.taps() == 0) return false;
  PixelGather merged = x;
  merge_images(&merged);
  // Cycles of a packed product for each pixel, measured (Zen 3): of a feature, to multiply it by a panel of
  // filters and to copy it; of a filter, to pack it.
  constexpr double kPanel = 1.1, kFeature = 0.5, kFeatureOfRow = 8, kFilter = 0.8;
  const GemmKernels& k = machine.table->gemm[compute_dtype(x.source.dtype) == Dtype::float64];
  const int64_t filters = x.result.channels / groups, channels = x.source.channels / groups;
  constexpr int64_t kMostSums = 1 << 17;  // of a channel, each a vector: they are a task's workspace
  if (filters * x.taps() > kMostSums) return false;
  const double feature = kPanel * static_cast<double>(ceil_div(filters, k.nr)) + kFeature +
                         kFeatureOfRow / static_cast<double>(merged.axis[kColumnAxis].positions);
  const double packed = static_cast<double>(x.taps()) * feature +
                        kFilter * static_cast<double>(filters) / static_cast<double>(channels);
  return lay_out(machine, merged, groups).cycles < packed;
}

std::unique_ptr<Product> plane_correlation(const Machine& machine, PixelGather x, int64_t groups,
                                           const FilterView& dw) {
  merge_images(&x);
  if (dw.dtype == Dtype::float64)
    return std::make_unique<PlaneCorrelation<double>>(machine, std::move(x), groups, dw);
  return std::make_unique<PlaneCorrelation<float>>(machine, std::move(x), groups, dw);
}

}  // namespace fastconv::cpu
