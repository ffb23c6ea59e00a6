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
    if (tap.low < tap.high) clip_to_source(&unit, line->positions, 1, size);
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
Scratch<T> carve_scratch(Carver* carver, const LanesPlans& plans) {
  int64_t planes = 0, taps = 0;
  for (const LanesPlan& p : plans.phases) {
    planes = std::max(planes, p.plane_elements());
    taps = std::max(taps, p.gather.taps());
  }
  const int64_t positions = plans.rows * plans.result.size[2], width = plans.width;
  Scratch<T> s;
  s.planes = carver->take<T>(planes);
  s.sums = carver->take<T>(positions * width);
  s.lines = carver->take<T>(round_up(positions, width) * width);
  s.taps = carver->take<T>(taps * width);
  return s;
}

// What a task works on: rows of one image, in planes.
template <class T>
class LanesBlock {
 public:
  LanesBlock(const Machine& machine, const LanesPlan& p, T* planes, int64_t block)
      : table_(*machine.table), p_(p), planes_(planes) {
    const AxisGather* axis = p.gather.axis;
    const int64_t row = block % p.row_blocks * p.rows, outer = block / p.row_blocks;
    rows_ = std::min(p.rows, axis[1].positions - row);
    const int64_t image = outer / axis[0].positions, depth = outer % axis[0].positions;
    segments_ = {
        {image, {depth, row * axis[1].step, 0}, (rows_ - 1) * axis[1].step + 1, p.planes.columns, 0}};
    const ImageView& r = p.gather.result;
    result_ = image * r.batch_stride + depth * r.stride[0] + row * r.stride[1];
  }

  void pack(int64_t channel) {
    pack_planes(table_, p_.read, p_.planes, segments_, channel,
                std::min<int64_t>(p_.width, p_.gather.source.channels - channel), p_.width, planes_);
  }

  int64_t rows() const { return rows_; }
  int64_t columns() const { return p_.gather.axis[2].positions; }
  int64_t result() const { return result_; }  // address of its first pixel
  // Taps of positions [column, column + count) of a row.
  DepthwiseLanes line(int64_t row, int64_t column, int64_t count) const {
    const AxisGather* axis = p_.gather.axis;
    const int64_t step = axis[2].step * p_.width;
    DepthwiseLanes line{};
    line.source = planes_ + row * axis[1].step * p_.planes.width() * p_.width + column * step;
    line.tap_offset = p_.tap_offset.data();
    line.taps = p_.gather.taps();
    line.count = count;
    line.step = step;
    return line;
  }

 private:
  const KernelTable& table_;
  const LanesPlan& p_;
  T* planes_;
  int64_t rows_, result_;
  std::vector<PixelSegment> segments_;
};

// weights[part][phase][tap of its gather][width]
template <class T>
Buffer pack_weights(const Machine& machine, const LanesPlans& plans, const FilterView& w) {
  const int64_t width = plans.width, parts = ceil_div(w.filters, width);
  Buffer packed(parts * plans.taps() * width * static_cast<int64_t>(sizeof(T)));
  const Buffer natural(w.taps * width * static_cast<int64_t>(sizeof(T)));
  T* to = packed.template as<T>();
  for (int64_t first = 0; first < w.filters; first += width) {
    machine.table->copy_block[static_cast<int>(w.dtype)]({element(w.data, w.dtype, first * w.taps), w.taps, 1,
                                                          natural.data(), 1, width,
                                                          std::min(width, w.filters - first), w.taps, false});
    for (const LanesPlan& p : plans.phases)
      for (const int64_t tap : p.gather.kernel_tap)
        to = std::copy_n(natural.template as<T>() + tap * width, width, to);
  }
  return packed;
}

// Writes the sums of rows x columns positions, position by position where the channels lie side by side in
// the result; else turned over, channel by channel.
template <class T>
class LanesStore {
 public:
  LanesStore(const Machine& machine, const ImageView& result, int64_t width, int64_t rows, int64_t address)
      : table_(*machine.table),
        r_(result),
        width_(width),
        positions_(rows * result.size[2]),
        address_(address) {
    const int64_t columns = r_.size[2], step = r_.stride[2];
    if (r_.channel_stride == 1) {
      for (int64_t i = 0; i < positions_; ++i)
        offsets_.push_back(i / columns * r_.stride[1] + i % columns * step);
      return;
    }
    const bool one_run = rows == 1 || r_.stride[1] == columns * step;
    const int64_t runs = one_run ? 1 : rows, length = one_run ? positions_ : columns;
    for (int64_t run = 0; run < runs; ++run)
      for (int64_t i = 0; i < length; i += width)
        pieces_.push_back({run * length + i, run * r_.stride[1] + i * step, 0,
                           static_cast<int>(std::min(width, length - i))});
  }

  void run(int64_t channel, const Scratch<T>& scratch, const T* bias, Activation activation) {
    const auto real = static_cast<int>(std::min(width_, r_.channels - channel));
    const auto store = table_.store_block[static_cast<int>(r_.dtype)];
    const auto out = [&](int64_t c) { return element(r_.data, r_.dtype, address_ + c * r_.channel_stride); };
    if (r_.channel_stride == 1) {
      const StorePiece piece{0, 0, 0, real};
      store({scratch.sums, positions_, out(channel), offsets_.data(), &piece, 1, 1, nullptr,
             bias ? bias + channel : nullptr, activation});
      return;
    }
    const int64_t pitch = round_up(positions_, width_), none = 0;
    copy_of<T>(table_)({scratch.sums, width_, 1, scratch.lines, 1, pitch, positions_, real, false});
    for (int i = 0; i < real; ++i)
      store({scratch.lines + i * pitch, 1, out(channel + i), &none, pieces_.data(),
             static_cast<int64_t>(pieces_.size()), r_.stride[2], bias ? bias + channel + i : nullptr, nullptr,
             activation});
  }

 private:
  const KernelTable& table_;
  const ImageView& r_;
  const int64_t width_, positions_, address_;
  std::vector<int64_t> offsets_;
  std::vector<StorePiece> pieces_;
};

double work_ns(const LanesPlans& plans) {
  const ImageView& r = plans.result;
  const double per_pixel = static_cast<double>(plans.taps()) / static_cast<double>(plans.phases.size());
  return static_cast<double>(r.batch * r.channels * product(r.size)) *
         (kNsPerElement + kNsPerTap * per_pixel);
}

std::optional<LanesPlan> plan_phase(const Machine& machine, const PixelGather& g) {
  if (g.taps() == 0 || (!channels_adjacent(g.source) && g.axis[2].positions >= kLongRow)) return std::nullopt;
  const bool wide = compute_dtype(g.source.dtype) == Dtype::float64;
  LanesPlan p;
  p.width = machine.table->gemm[wide].nr;
  p.gather = p.read = g;
  PlaneLayout& planes = p.planes;
  planes.axis[0].copies = g.axis[0].taps;
  for (std::size_t t = 0; t < g.axis[0].taps.size(); ++t)
    planes.axis[0].taps.push_back({static_cast<int64_t>(t), 0});
  for (int a = 1; a < kAxes; ++a) {
    p.read.axis[a] = {};
    if (!read_as_line(g.axis[a], g.source.size[a], &p.read.axis[a], &planes.axis[a])) return std::nullopt;
  }
  planes.columns = p.read.axis[2].positions;
  // Rows of a block, so that its planes take half of L2.
  const int64_t step = g.axis[1].step, halo = planes.axis[1].halo;
  const int64_t row_elements = planes.copies() * planes.width() * p.width;
  const int64_t room = machine.caches.l2 / 2 / (wide ? 8 : 4) / row_elements - halo;
  if (room < 1) return std::nullopt;
  p.rows = even_part(g.axis[1].positions, room / step);
  p.row_blocks = ceil_div(g.axis[1].positions, p.rows);
  planes.rows = (p.rows - 1) * step + 1;
  planes.elements = (planes.rows + halo) * planes.width();
  p.tap_offset.resize(static_cast<std::size_t>(g.taps()));
  feature_offsets(planes, g.taps(), 0, 0, g.taps(), p.tap_offset.data());
  for (int64_t& offset : p.tap_offset) offset *= p.width;
  return p;
}

// Where a phase's positions lie among the result's own; false unless the result is one dense image.
bool place_phase(const ImageView& result, LanesPlan* p) {
  const ImageView& part = p->gather.result;
  const int64_t bytes = static_cast<const char*>(part.data) - static_cast<const char*>(result.data);
  int64_t rest = bytes / size_of(result.dtype);
  for (int a = 1; a < kAxes; ++a) {
    if (result.stride[a] <= 0 || part.stride[a] % result.stride[a]) return false;
    p->first[a] = rest / result.stride[a];
    p->step[a] = part.stride[a] / result.stride[a];
    rest %= result.stride[a];
  }
  return rest == 0;
}

}  // namespace

std::optional<LanesPlans> plan_lanes(const Machine& machine, const std::vector<PixelGather>& gathers,
                                     const ImageView& result, int64_t multiplier) {
  if (multiplier != 1 || gathers.empty()) return std::nullopt;
  LanesPlans plans;
  plans.result = result;
  for (const PixelGather& g : gathers) {
    auto p = plan_phase(machine, g);
    if (!p) return std::nullopt;
    if (gathers.size() > 1) {  // a task takes a whole image
      if (p->row_blocks > 1 || result.size[0] > 1 || !place_phase(result, &*p)) return std::nullopt;
    } else {
      plans.result = g.result;
      plans.result.size[2] = g.axis[2].positions;
    }
    plans.phases.push_back(std::move(*p));
  }
  const LanesPlan& one = plans.phases[0];
  plans.width = one.width;
  plans.rows = gathers.size() > 1 ? result.size[1] : one.rows;
  plans.blocks = result.batch * one.gather.axis[0].positions * one.row_blocks;
  return plans;
}

int64_t workspace_bytes(const Machine& machine, const LanesPlans& plans) {
  Carver measure;
  if (compute_dtype(plans.phases[0].gather.source.dtype) == Dtype::float64) {
    carve_scratch<double>(&measure, plans);
  } else {
    carve_scratch<float>(&measure, plans);
  }
  return machine.threads * measure.used();
}

template <class T>
void filter_lanes(const Machine& machine, const LanesPlans& plans, const FilterView& w,
                  const Epilogue& epilogue) {
  const DepthwiseKernels& kernels = machine.table->depthwise[sizeof(T) == 8];
  const int64_t width = plans.width, columns = plans.result.size[2];
  const int64_t channels = plans.result.channels, parts = ceil_div(channels, width);
  const int64_t scratch = workspace_bytes(machine, plans) / machine.threads;
  const Buffer workspace(scratch * machine.threads), weights = pack_weights<T>(machine, plans, w);
  const Buffer bias = widened_bias<T>(*machine.table, epilogue, w.dtype, channels);
  // A task takes several channels of one block, as long as there is work for every thread.
  const int64_t together = std::clamp<int64_t>(plans.blocks * parts / (kTasksPerThread * machine.threads), 1,
                                               std::min(parts, kMostTogether));
  const int64_t tasks = ceil_div(parts, together);
  parallel_for(plans.blocks * tasks, work_ns(plans), machine.threads, [&](int64_t task, int worker) {
    Carver carver(workspace.as<char>() + worker * scratch);
    const Scratch<T> s = carve_scratch<T>(&carver, plans);
    std::vector<LanesBlock<T>> blocks;
    int64_t reached = 0;  // positions
    for (const LanesPlan& p : plans.phases) {
      blocks.emplace_back(machine, p, s.planes, task / tasks);
      reached += blocks.back().rows() * blocks.back().columns();
    }
    const bool whole = blocks.size() > 1;  // image
    const int64_t rows = whole ? plans.rows : blocks[0].rows();
    const int64_t address = whole ? task / tasks * plans.result.batch_stride : blocks[0].result();
    LanesStore<T> store(machine, plans.result, width, rows, address);
    if (reached < rows * columns) std::fill(s.sums, s.sums + rows * columns * width, T(0));
    const int64_t first = task % tasks * together, end = std::min(first + together, parts);
    for (int64_t part = first; part < end; ++part) {
      const T* of_phase = weights.as<T>() + part * plans.taps() * width;
      for (std::size_t i = 0; i < blocks.size(); ++i) {
        const LanesPlan& p = plans.phases[i];
        blocks[i].pack(part * width);
        for (int64_t row = 0; row < blocks[i].rows(); ++row) {
          DepthwiseLanes line = blocks[i].line(row, 0, blocks[i].columns());
          line.weights = of_phase;
          line.out = s.sums + ((p.first[1] + row * p.step[1]) * columns + p.first[2]) * width;
          line.out_step = p.step[2] * width;
          kernels.filter_lanes(line);
        }
        of_phase += p.gather.taps() * width;
      }
      store.run(part * width, s, bias.as<T>(), epilogue.activation);
    }
  });
}

template <class T>
void correlate_lanes(const Machine& machine, const LanesPlans& plans, int64_t slices, double* totals) {
  const DepthwiseKernels& kernels = machine.table->depthwise[sizeof(T) == 8];
  const LanesPlan& p = plans.phases[0];
  const ImageView& dy = plans.result;
  const int64_t width = plans.width, parts = ceil_div(dy.channels, width), sums = plans.taps() * width;
  const int64_t scratch = workspace_bytes(machine, plans) / machine.threads;
  const Buffer workspace(scratch * machine.threads);
  parallel_for(parts * slices, work_ns(plans), machine.threads, [&](int64_t task, int worker) {
    Carver carver(workspace.as<char>() + worker * scratch);
    const Scratch<T> s = carve_scratch<T>(&carver, plans);
    const int64_t slice = task % slices, channel = task / slices * width;
    const int64_t real = std::min(width, dy.channels - channel);
    double* total = totals + task * sums;
    std::fill(total, total + sums, 0.0);
    std::fill(s.taps, s.taps + sums, T(0));
    int64_t chain = 0;
    const auto flush = [&] {
      for (int64_t i = 0; i < sums; ++i) total[i] += static_cast<double>(s.taps[i]);
      std::fill(s.taps, s.taps + sums, T(0));
      chain = 0;
    };
    for (int64_t index = plans.blocks * slice / slices; index < plans.blocks * (slice + 1) / slices;
         ++index) {
      LanesBlock<T> block(machine, p, s.planes, index);
      block.pack(channel);
      const int64_t columns = block.columns();
      for (int64_t row = 0; row < block.rows(); ++row) {
        machine.table->copy_block[static_cast<int>(dy.dtype)](
            {element(dy.data, dy.dtype, block.result() + row * dy.stride[1] + channel * dy.channel_stride),
             dy.stride[2], dy.channel_stride, s.sums, width, 1, columns, real, false});
        for (int64_t column = 0; column < columns;) {
          if (chain == kLongestChain) flush();
          const int64_t count = std::min(columns - column, kLongestChain - chain);
          DepthwiseLanes line = block.line(row, column, count);
          line.values = s.sums + column * width;
          line.out_step = width;
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

template void filter_lanes<float>(const Machine&, const LanesPlans&, const FilterView&, const Epilogue&);
template void filter_lanes<double>(const Machine&, const LanesPlans&, const FilterView&, const Epilogue&);
template void correlate_lanes<float>(const Machine&, const LanesPlans&, int64_t, double*);
template void correlate_lanes<double>(const Machine&, const LanesPlans&, int64_t, double*);

}  // namespace fastconv::cpu
