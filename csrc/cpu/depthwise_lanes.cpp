#include "cpu/depthwise_lanes.h"

#include <algorithm>

#include "core/buffer_pool.h"
#include "core/integers.h"
#include "cpu/packed_product.h"
#include "cpu/packing.h"
#include "cpu/parallel.h"

namespace fastconv::cpu {
namespace {

constexpr double kNsPerTap = 0.1;
constexpr int64_t kTasksPerThread = 4, kMostTogether = 16;
constexpr int64_t kLongestChain = 64;  // products that are added up in float32 before they go into a double
constexpr int64_t kLongRow = 64;       // pixels from which on channels_first is better served by rows

// The axis at step 1, where its taps read one line: then the taps are shifts.
bool read_as_line(const AxisGather& axis, int64_t size, AxisGather* line, AxisCopies* copies) {
  line->step = 1;
  line->positions = (axis.positions - 1) * axis.step + 1;
  for (const TapMap& tap : axis.taps) {
    TapMap unit;
    unit.offset = tap.offset;
    clip_to_source(&unit, line->positions, 1, size);
    for (const auto& [j, source] : tap.extra) unit.extra.emplace_back(j * axis.step, source);
    line->taps.push_back(std::move(unit));
  }
  return share_copies(*line, size, copies);
}

template <class T>
struct Scratch {
  T *planes, *sums, *lines, *taps;
};
template <class T>
Scratch<T> carve_scratch(Carver* carver, const PixelGather& g, const LanesPlan& p) {
  const int64_t positions = p.rows * g.axis[2].positions;
  Scratch<T> s;
  s.planes = carver->take<T>(p.plane_elements());
  s.sums = carver->take<T>(positions * p.width);
  s.lines = carver->take<T>(round_up(positions, p.width) * p.width);
  s.taps = carver->take<T>(g.taps() * p.width);
  return s;
}

// What a task works on: rows of one image, in planes.
template <class T>
class LanesBlock {
 public:
  LanesBlock(const Machine& machine, const PixelGather& g, const LanesPlan& p, T* planes, int64_t block)
      : table_(*machine.table), g_(g), p_(p), planes_(planes) {
    const int64_t row = block % p.row_blocks * p.rows, outer = block / p.row_blocks;
    rows_ = std::min(p.rows, g.axis[1].positions - row);
    const int64_t image = outer / g.axis[0].positions, depth = outer % g.axis[0].positions;
    segments_ = {
        {image, {depth, row * g.axis[1].step, 0}, (rows_ - 1) * g.axis[1].step + 1, p.planes.columns, 0}};
    const ImageView& r = g.result;
    result_ = image * r.batch_stride + depth * r.stride[0] + row * r.stride[1];
  }

  void pack(int64_t channel) {
    pack_planes(table_, p_.read, p_.planes, segments_, channel,
                std::min<int64_t>(p_.width, g_.source.channels - channel), p_.width, planes_);
  }

  int64_t rows() const { return rows_; }
  int64_t columns() const { return g_.axis[2].positions; }
  int64_t result() const { return result_; }  // address of its first pixel
  // Taps of positions [column, column + count) of a row.
  DepthwiseLanes line(int64_t row, int64_t column, int64_t count) const {
    const int64_t step = g_.axis[2].step * p_.width;
    return {planes_ + row * g_.axis[1].step * p_.planes.width() * p_.width + column * step,
            p_.tap_offset.data(),
            g_.taps(),
            count,
            step,
            nullptr,
            nullptr,
            nullptr};
  }

 private:
  const KernelTable& table_;
  const PixelGather& g_;
  const LanesPlan& p_;
  T* planes_;
  int64_t rows_, result_;
  std::vector<PixelSegment> segments_;
};

// weights[part][tap of the gather][width]
template <class T>
Buffer pack_weights(const Machine& machine, const PixelGather& g, const LanesPlan& p, const FilterView& w) {
  const int64_t parts = ceil_div(w.filters, p.width), part_elements = g.taps() * p.width;
  Buffer packed(parts * part_elements * static_cast<int64_t>(sizeof(T)));
  const Buffer natural(w.taps * p.width * static_cast<int64_t>(sizeof(T)));
  for (int64_t part = 0; part < parts; ++part) {
    const int64_t first = part * p.width;
    machine.table->copy_block[static_cast<int>(w.dtype)](
        {element(w.data, w.dtype, first * w.taps), w.taps, 1, natural.data(), 1, p.width,
         std::min<int64_t>(p.width, w.filters - first), w.taps, false});
    T* to = packed.template as<T>() + part * part_elements;
    for (const int64_t tap : g.kernel_tap) {
      std::copy_n(natural.template as<T>() + tap * p.width, p.width, to);
      to += p.width;
    }
  }
  return packed;
}

// Writes a block's sums, position by position and channel by channel, where the channels lie side by side in
// the result; else turned over, channel by channel.
template <class T>
class LanesStore {
 public:
  LanesStore(const Machine& machine, const PixelGather& g, const LanesPlan& p, const LanesBlock<T>& block)
      : table_(*machine.table), r_(g.result), p_(p), nr_(p.width), block_(block) {
    const int64_t columns = block.columns(), rows = block.rows(), step = r_.stride[2];
    if (r_.channel_stride == 1) {
      for (int64_t i = 0; i < rows * columns; ++i)
        offsets_.push_back(i / columns * r_.stride[1] + i % columns * step);
      return;
    }
    const bool one_run = rows == 1 || r_.stride[1] == columns * step;
    const int64_t runs = one_run ? 1 : rows, length = one_run ? rows * columns : columns;
    for (int64_t run = 0; run < runs; ++run)
      for (int64_t i = 0; i < length; i += nr_)
        pieces_.push_back({run * length + i, run * r_.stride[1] + i * step, 0,
                           static_cast<int>(std::min<int64_t>(nr_, length - i))});
  }

  void run(int64_t channel, const Scratch<T>& scratch, const T* bias, Activation activation) {
    const int64_t positions = block_.rows() * block_.columns();
    const auto real = static_cast<int>(std::min<int64_t>(p_.width, r_.channels - channel));
    const auto store = table_.store_block[static_cast<int>(r_.dtype)];
    const auto out = [&](int64_t c) {
      return element(r_.data, r_.dtype, block_.result() + c * r_.channel_stride);
    };
    if (r_.channel_stride == 1) {
      const StorePiece piece{0, 0, 0, real};
      store({scratch.sums, positions, out(channel), offsets_.data(), &piece, 1, 1, nullptr,
             bias ? bias + channel : nullptr, activation});
      return;
    }
    const int64_t pitch = round_up(positions, nr_), none = 0;
    table_.copy_block[sizeof(T) == 8 ? static_cast<int>(Dtype::float64) : static_cast<int>(Dtype::float32)](
        {scratch.sums, p_.width, 1, scratch.lines, 1, pitch, positions, real, false});
    for (int i = 0; i < real; ++i)
      store({scratch.lines + i * pitch, 1, out(channel + i), &none, pieces_.data(),
             static_cast<int64_t>(pieces_.size()), r_.stride[2], bias ? bias + channel + i : nullptr, nullptr,
             activation});
  }

 private:
  const KernelTable& table_;
  const ImageView& r_;
  const LanesPlan& p_;
  const int64_t nr_;
  const LanesBlock<T>& block_;
  std::vector<int64_t> offsets_;
  std::vector<StorePiece> pieces_;
};

int64_t blocks_of(const PixelGather& g, const LanesPlan& p) {
  return g.source.batch * g.axis[0].positions * p.row_blocks;
}

double work_ns(const PixelGather& g) {
  return static_cast<double>(g.pixels()) * static_cast<double>(g.result.channels) *
         (kNsPerElement + kNsPerTap * static_cast<double>(g.taps()));
}

}  // namespace

std::optional<LanesPlan> plan_lanes(const Machine& machine, const PixelGather& g, int64_t multiplier) {
  if (multiplier != 1 || g.taps() == 0) return std::nullopt;
  if (!channels_adjacent(g.source) && g.axis[2].positions >= kLongRow) return std::nullopt;
  const bool wide = compute_dtype(g.source.dtype) == Dtype::float64;
  LanesPlan p;
  p.width = machine.table->gemm[wide].nr;
  p.read = g;
  PlaneLayout& planes = p.planes;
  planes.axis[0].copies = g.axis[0].taps;
  for (std::size_t t = 0; t < g.axis[0].taps.size(); ++t)
    planes.axis[0].taps.push_back({static_cast<int64_t>(t), 0});
  for (int a = 1; a < kAxes; ++a) {
    p.read.axis[a] = {};
    if (!read_as_line(g.axis[a], g.source.size[a], &p.read.axis[a], &planes.axis[a])) return std::nullopt;
  }
  planes.columns = p.read.axis[2].positions;
  // Rows of a block, so that its planes take a part of L2.
  const int64_t step = g.axis[1].step, halo = planes.axis[1].halo;
  const int64_t row_elements = planes.copies() * planes.width() * p.width;
  const int64_t room = machine.caches.l2 / 4 / (wide ? 8 : 4) / row_elements - halo;
  p.rows = even_part(g.axis[1].positions, room / step);
  p.row_blocks = ceil_div(g.axis[1].positions, p.rows);
  planes.rows = (p.rows - 1) * step + 1;
  planes.elements = (planes.rows + halo) * planes.width();
  p.tap_offset.resize(static_cast<std::size_t>(g.taps()));
  feature_offsets(planes, g.taps(), 0, 0, g.taps(), p.tap_offset.data());
  for (int64_t& offset : p.tap_offset) offset *= p.width;
  return p;
}

int64_t workspace_bytes(const Machine& machine, const PixelGather& g, const LanesPlan& p) {
  Carver measure;
  if (compute_dtype(g.source.dtype) == Dtype::float64) {
    carve_scratch<double>(&measure, g, p);
  } else {
    carve_scratch<float>(&measure, g, p);
  }
  return machine.threads * measure.used();
}

template <class T>
void filter_lanes(const Machine& machine, const PixelGather& g, const LanesPlan& p, const FilterView& w,
                  const Epilogue& epilogue) {
  const DepthwiseKernels& kernels = machine.table->depthwise[sizeof(T) == 8];
  const int64_t channels = g.result.channels, parts = ceil_div(channels, p.width), blocks = blocks_of(g, p);
  const int64_t scratch = workspace_bytes(machine, g, p) / machine.threads;
  const Buffer workspace(scratch * machine.threads), weights = pack_weights<T>(machine, g, p, w);
  const Buffer bias = widened_bias<T>(*machine.table, epilogue, w.dtype, channels);
  // A task takes several channels of one block, as long as there is work for every thread.
  const int64_t together = std::clamp<int64_t>(blocks * parts / (kTasksPerThread * machine.threads), 1,
                                               std::min(parts, kMostTogether));
  const int64_t tasks = ceil_div(parts, together);
  parallel_for(blocks * tasks, work_ns(g), machine.threads, [&](int64_t task, int worker) {
    Carver carver(workspace.as<char>() + worker * scratch);
    const Scratch<T> s = carve_scratch<T>(&carver, g, p);
    LanesBlock<T> block(machine, g, p, s.planes, task / tasks);
    LanesStore<T> store(machine, g, p, block);
    const int64_t first = task % tasks * together, end = std::min(first + together, parts);
    for (int64_t part = first; part < end; ++part) {
      block.pack(part * p.width);
      for (int64_t row = 0; row < block.rows(); ++row) {
        DepthwiseLanes line = block.line(row, 0, block.columns());
        line.weights = weights.as<T>() + part * g.taps() * p.width;
        line.out = s.sums + row * block.columns() * p.width;
        kernels.filter_lanes(line);
      }
      store.run(part * p.width, s, bias.as<T>(), epilogue.activation);
    }
  });
}

template <class T>
void correlate_lanes(const Machine& machine, const PixelGather& g, const LanesPlan& p, int64_t slices,
                     int64_t channels, double* totals) {
  const DepthwiseKernels& kernels = machine.table->depthwise[sizeof(T) == 8];
  const ImageView& dy = g.result;
  const int64_t parts = ceil_div(channels, p.width), blocks = blocks_of(g, p), sums = g.taps() * p.width;
  const int64_t scratch = workspace_bytes(machine, g, p) / machine.threads;
  const Buffer workspace(scratch * machine.threads);
  parallel_for(parts * slices, work_ns(g), machine.threads, [&](int64_t task, int worker) {
    Carver carver(workspace.as<char>() + worker * scratch);
    const Scratch<T> s = carve_scratch<T>(&carver, g, p);
    const int64_t slice = task % slices, channel = task / slices * p.width;
    const int64_t real = std::min<int64_t>(p.width, channels - channel);
    double* total = totals + task * sums;
    std::fill(total, total + sums, 0.0);
    std::fill(s.taps, s.taps + sums, T(0));
    int64_t chain = 0;
    const auto flush = [&] {
      for (int64_t i = 0; i < sums; ++i) total[i] += static_cast<double>(s.taps[i]);
      std::fill(s.taps, s.taps + sums, T(0));
      chain = 0;
    };
    for (int64_t index = blocks * slice / slices; index < blocks * (slice + 1) / slices; ++index) {
      LanesBlock<T> block(machine, g, p, s.planes, index);
      block.pack(channel);
      const int64_t columns = block.columns();
      for (int64_t row = 0; row < block.rows(); ++row) {
        machine.table->copy_block[static_cast<int>(dy.dtype)](
            {element(dy.data, dy.dtype, block.result() + row * dy.stride[1] + channel * dy.channel_stride),
             dy.stride[2], dy.channel_stride, s.sums, p.width, 1, columns, real, false});
        for (int64_t column = 0; column < columns;) {
          if (chain == kLongestChain) flush();
          const int64_t count = std::min(columns - column, kLongestChain - chain);
          DepthwiseLanes line = block.line(row, column, count);
          line.values = s.sums + column * p.width;
          line.out = s.taps;
          kernels.correlate_lanes(line);
          column += count;
          chain += count;
        }
      }
    }
    flush();
  });
}

template void filter_lanes<float>(const Machine&, const PixelGather&, const LanesPlan&, const FilterView&,
                                  const Epilogue&);
template void filter_lanes<double>(const Machine&, const PixelGather&, const LanesPlan&, const FilterView&,
                                   const Epilogue&);
template void correlate_lanes<float>(const Machine&, const PixelGather&, const LanesPlan&, int64_t, int64_t,
                                     double*);
template void correlate_lanes<double>(const Machine&, const PixelGather&, const LanesPlan&, int64_t, int64_t,
                                      double*);

}  // namespace fastconv::cpu
