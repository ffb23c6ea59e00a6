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

// An axis of all phases at step 1, their taps one after the other; false where these can't read one line, as
// shifts.
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

template <class T>
struct Scratch {
  T *planes, *sums, *lines;
  T* taps;  // correlate: partial sums of the parts of a task
};
template <class T>
Scratch<T> carve_scratch(Carver* carver, const LanesPlan& plan) {
  const int64_t positions = plan.rows * plan.result.size[2], width = plan.width;
  Scratch<T> s;
  s.planes = carver->take<T>(plan.plane_elements());
  s.sums = carver->take<T>(positions * width);
  s.lines = carver->take<T>(round_up(positions, width) * width);
  s.taps = carver->take<T>(plan.together * plan.phases[0].gather.taps() * width);
  return s;
}

// What a task works on: rows of one image, in planes.
template <class T>
class LanesBlock {
 public:
  LanesBlock(const Machine& machine, const LanesPlan& plan, T* planes)
      : table_(*machine.table), p_(plan), planes_(planes) {}

  void move_to(int64_t block) {
    const int64_t step = p_.phases[0].gather.axis[1].step, depths = p_.phases[0].gather.axis[0].positions;
    const int64_t row = block % p_.row_blocks * p_.rows, outer = block / p_.row_blocks;
    const int64_t image = outer / depths, depth = outer % depths;
    rows_ = std::min(p_.rows, p_.result.size[1] - row);
    const int64_t lines = std::min((rows_ - 1) * step + 1, p_.read.axis[1].positions - row * step);
    segments_ = {{image, {depth, row * step, 0}, lines, p_.planes.columns, 0}};
    result_ = image * p_.result.batch_stride + depth * p_.result.stride[0] + row * p_.result.stride[1];
    packed_ = false;
  }

  void pack(int64_t channel) {
    pack_planes(table_, p_.read, p_.planes, segments_, channel,
                std::min<int64_t>(p_.width, p_.result.channels - channel), {p_.width, packed_}, planes_);
    packed_ = true;
  }

  int64_t rows() const { return rows_; }
  int64_t result() const { return result_; }  // address of its first pixel
  // Rows of a phase: all of an image's, where there are several.
  int64_t rows(const LanesPhase& phase) const {
    return p_.phases.size() > 1 ? phase.gather.axis[1].positions : rows_;
  }
  // Taps of positions [column, column + count) of a phase's row.
  DepthwiseLanes line(const LanesPhase& phase, int64_t row, int64_t column, int64_t count) const {
    const AxisGather* axis = phase.gather.axis;
    const int64_t step = axis[2].step * p_.width;
    DepthwiseLanes line{};
    line.source = planes_ + row * axis[1].step * p_.planes.width() * p_.width + column * step;
    line.tap_offset = phase.tap_offset.data();
    line.taps = phase.gather.taps();
    line.count = count;
    line.step = step;
    return line;
  }

 private:
  const KernelTable& table_;
  const LanesPlan& p_;
  T* planes_;
  int64_t rows_ = 0, result_ = 0;
  bool packed_ = false;
  std::vector<PixelSegment> segments_;
};

// weights[part][phase][tap of its gather][width]
template <class T>
Buffer pack_weights(const Machine& machine, const LanesPlan& plan, const FilterView& w) {
  const int64_t width = plan.width, parts = ceil_div(w.filters, width);
  Buffer packed(parts * plan.taps() * width * static_cast<int64_t>(sizeof(T)));
  const Buffer natural(w.taps * width * static_cast<int64_t>(sizeof(T)));
  T* to = packed.template as<T>();
  for (int64_t first = 0; first < w.filters; first += width) {
    machine.table->copy_block[static_cast<int>(w.dtype)]({element(w.data, w.dtype, first * w.taps), w.taps, 1,
                                                          natural.data(), 1, width,
                                                          std::min(width, w.filters - first), w.taps, false});
    for (const LanesPhase& p : plan.phases)
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

// The weight gradient's sums over blocks for some parts, added in float32 for kLongestChain positions at most
// and then in double: total(part)[tap][width].
template <class T>
class LanesSums {
 public:
  LanesSums(const Machine& machine, const LanesPlan& plan, const Scratch<T>& scratch, int64_t first_part,
            int64_t parts, double* totals, int64_t total_stride)
      : table_(*machine.table),
        p_(plan),
        dy_(plan.result),
        s_(scratch),
        first_(first_part),
        parts_(parts),
        sums_(plan.taps() * plan.width),
        totals_(totals),
        total_stride_(total_stride),
        block_(machine, plan, scratch.planes) {
    std::fill(s_.taps, s_.taps + parts_ * sums_, T(0));
    for (int64_t part = 0; part < parts_; ++part)
      std::fill(totals_ + part * total_stride_, totals_ + part * total_stride_ + sums_, 0.0);
  }

  void add(int64_t block) {
    block_.move_to(block);
    const int64_t before = chain_;
    for (int64_t part = 0; part < parts_; ++part) {
      chain_ = before;
      add_part(part);
    }
  }
  void finish() {
    for (int64_t part = 0; part < parts_; ++part) flush(part);
  }

 private:
  void add_part(int64_t part) {
    const int64_t channel = (first_ + part) * p_.width, columns = dy_.size[2], rows = block_.rows();
    block_.pack(channel);
    read_values(channel);
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t column = 0; column < columns;) {
        if (chain_ == kLongestChain) flush(part);
        const int64_t count = std::min(columns - column, kLongestChain - chain_);
        DepthwiseLanes line = block_.line(p_.phases[0], row, column, count);
        line.values = s_.sums + (row * columns + column) * p_.width;
        line.out_step = p_.width;
        line.out = s_.taps + part * sums_;
        table_.depthwise[sizeof(T) == 8].correlate_lanes(line);
        column += count;
        chain_ += count;
      }
  }

  // dy's pixels of the block, all at once where its rows follow each other.
  void read_values(int64_t channel) {
    const int64_t columns = dy_.size[2], rows = block_.rows();
    const bool dense = dy_.stride[1] == columns * dy_.stride[2];
    const int64_t runs = dense ? 1 : rows, length = dense ? rows * columns : columns;
    const int64_t real = std::min(p_.width, dy_.channels - channel);
    for (int64_t run = 0; run < runs; ++run)
      table_.copy_block[static_cast<int>(dy_.dtype)](
          {element(dy_.data, dy_.dtype, block_.result() + run * dy_.stride[1] + channel * dy_.channel_stride),
           dy_.stride[2], dy_.channel_stride, s_.sums + run * columns * p_.width, p_.width, 1, length, real,
           false});
  }

  void flush(int64_t part) {
    T* sums = s_.taps + part * sums_;
    double* total = totals_ + part * total_stride_;
    for (int64_t i = 0; i < sums_; ++i) total[i] += static_cast<double>(sums[i]);
    std::fill(sums, sums + sums_, T(0));
    chain_ = 0;
  }

  const KernelTable& table_;
  const LanesPlan& p_;
  const ImageView& dy_;
  const Scratch<T> s_;
  const int64_t first_, parts_, sums_;
  double* totals_;
  const int64_t total_stride_;
  LanesBlock<T> block_;
  int64_t chain_ = 0;
};

double work_ns(const LanesPlan& plan) {
  const ImageView& r = plan.result;
  const double per_pixel = static_cast<double>(plan.taps()) / static_cast<double>(plan.phases.size());
  return static_cast<double>(r.batch * r.channels * product(r.size)) *
         (kNsPerElement + kNsPerTap * per_pixel);
}

// Where a phase's positions lie among the result's own; false unless the result is one dense image.
bool place_phase(const ImageView& result, LanesPhase* p) {
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

// The lines that all phases read, in planes; false where there are none.
bool read_planes(const std::vector<PixelGather>& gathers, LanesPlan* plan) {
  PlaneLayout& planes = plan->planes;
  plan->read = gathers[0];
  planes.axis[0].copies = gathers[0].axis[0].taps;
  for (std::size_t t = 0; t < planes.axis[0].copies.size(); ++t)
    planes.axis[0].taps.push_back({static_cast<int64_t>(t), 0});
  for (int a = 1; a < kAxes; ++a) {
    plan->read.axis[a] = {};
    if (!read_as_line(gathers, a, &plan->read.axis[a], &planes.axis[a])) return false;
  }
  planes.columns = plan->read.axis[2].positions;
  return true;
}

// Rows of a block, so that its planes take half of L2; false where not one fits.
bool size_blocks(const Machine& machine, int64_t element_bytes, LanesPlan* plan) {
  const AxisGather& axis = plan->phases[0].gather.axis[1];
  PlaneLayout& planes = plan->planes;
  const int64_t halo = planes.axis[1].halo, row_elements = planes.copies() * planes.width() * plan->width;
  const int64_t room = machine.caches.l2 / 2 / element_bytes / row_elements - halo;
  if (plan->phases.size() > 1) {  // phases are put together in whole images
    if (room < plan->read.axis[1].positions) return false;
    plan->rows = plan->result.size[1];
    plan->row_blocks = 1;
    planes.rows = plan->read.axis[1].positions;
  } else {
    if (room < 1) return false;
    plan->rows = even_part(axis.positions, room / axis.step);
    plan->row_blocks = ceil_div(axis.positions, plan->rows);
    planes.rows = (plan->rows - 1) * axis.step + 1;
  }
  planes.elements = (planes.rows + halo) * planes.width();
  return true;
}

// Where each phase's taps start in the planes, the taps of each axis being numbered through all phases.
void place_taps(LanesPlan* plan) {
  const PlaneLayout& planes = plan->planes;
  std::size_t first[kAxes] = {0, 0, 0};
  for (LanesPhase& p : plan->phases) {
    const AxisGather* axis = p.gather.axis;
    for (const AxisCopies::Place& p0 : planes.axis[0].taps)
      for (std::size_t t1 = 0; t1 < axis[1].taps.size(); ++t1)
        for (std::size_t t2 = 0; t2 < axis[2].taps.size(); ++t2)
          p.tap_offset.push_back((p0.copy * planes.elements +
                                  planes.axis[1].taps[first[1] + t1].shift * planes.width() +
                                  planes.axis[2].taps[first[2] + t2].shift) *
                                 plan->width);
    for (int a = 1; a < kAxes; ++a) first[a] += axis[a].taps.size();
  }
}

}  // namespace

std::optional<LanesPlan> plan_lanes(const Machine& machine, const std::vector<PixelGather>& gathers,
                                    const ImageView& result, int64_t multiplier) {
  if (multiplier != 1 || gathers.empty()) return std::nullopt;
  const bool wide = compute_dtype(result.dtype) == Dtype::float64;
  LanesPlan plan;
  plan.width = machine.table->gemm[wide].nr;
  plan.result = gathers.size() > 1 ? result : gathers[0].result;
  for (const PixelGather& g : gathers) {
    if (g.taps() == 0 || (!channels_adjacent(g.source) && g.axis[2].positions >= kLongRow))
      return std::nullopt;
    plan.phases.push_back({g, {}});
    if (gathers.size() > 1 && (result.size[0] > 1 || !place_phase(result, &plan.phases.back())))
      return std::nullopt;
  }
  if (gathers.size() == 1)
    for (int a = 0; a < kAxes; ++a) plan.result.size[a] = gathers[0].axis[a].positions;
  if (!read_planes(gathers, &plan) || !size_blocks(machine, wide ? 8 : 4, &plan)) return std::nullopt;
  place_taps(&plan);
  plan.together = std::clamp<int64_t>(machine.caches.l2 / 8 / (plan.taps() * plan.width * (wide ? 8 : 4)), 1,
                                      kMostTogether);
  plan.blocks = result.batch * gathers[0].axis[0].positions * plan.row_blocks;
  return plan;
}

int64_t workspace_bytes(const Machine& machine, const LanesPlan& plan) {
  Carver measure;
  if (compute_dtype(plan.result.dtype) == Dtype::float64) {
    carve_scratch<double>(&measure, plan);
  } else {
    carve_scratch<float>(&measure, plan);
  }
  return machine.threads * measure.used();
}

template <class T>
void filter_lanes(const Machine& machine, const LanesPlan& plan, const FilterView& w,
                  const Epilogue& epilogue) {
  const DepthwiseKernels& kernels = machine.table->depthwise[sizeof(T) == 8];
  const int64_t width = plan.width, columns = plan.result.size[2];
  const int64_t channels = plan.result.channels, parts = ceil_div(channels, width);
  const int64_t scratch = workspace_bytes(machine, plan) / machine.threads;
  const Buffer workspace(scratch * machine.threads), weights = pack_weights<T>(machine, plan, w);
  const Buffer bias = widened_bias<T>(*machine.table, epilogue, w.dtype, channels);
  int64_t reached = 0;  // rows x columns of an image
  for (const LanesPhase& p : plan.phases) reached += p.gather.axis[1].positions * p.gather.axis[2].positions;
  const bool untouched = reached < plan.result.size[1] * columns;
  // A task takes several channels of one block, as long as there is work for every thread.
  const int64_t together = std::clamp<int64_t>(plan.blocks * parts / (kTasksPerThread * machine.threads), 1,
                                               std::min(parts, plan.together));
  const int64_t tasks = ceil_div(parts, together);
  parallel_for(plan.blocks * tasks, work_ns(plan), machine.threads, [&](int64_t task, int worker) {
    Carver carver(workspace.as<char>() + worker * scratch);
    const Scratch<T> s = carve_scratch<T>(&carver, plan);
    LanesBlock<T> block(machine, plan, s.planes);
    block.move_to(task / tasks);
    LanesStore<T> store(machine, plan.result, width, block.rows(), block.result());
    if (untouched) std::fill(s.sums, s.sums + plan.rows * columns * width, T(0));
    const int64_t first = task % tasks * together, end = std::min(first + together, parts);
    for (int64_t part = first; part < end; ++part) {
      block.pack(part * width);
      const T* of_phase = weights.as<T>() + part * plan.taps() * width;
      for (const LanesPhase& p : plan.phases) {
        for (int64_t row = 0; row < block.rows(p); ++row) {
          DepthwiseLanes line = block.line(p, row, 0, p.gather.axis[2].positions);
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
void correlate_lanes(const Machine& machine, const LanesPlan& plan, int64_t slices, double* totals) {
  const ImageView& dy = plan.result;
  const int64_t parts = ceil_div(dy.channels, plan.width);
  const int64_t scratch = workspace_bytes(machine, plan) / machine.threads;
  const Buffer workspace(scratch * machine.threads);
  const int64_t together =
      std::clamp<int64_t>(parts * slices / (kTasksPerThread * machine.threads), 1, plan.together);
  const int64_t tasks = ceil_div(parts, together), stride = slices * plan.taps() * plan.width;
  parallel_for(slices * tasks, work_ns(plan), machine.threads, [&](int64_t task, int worker) {
    Carver carver(workspace.as<char>() + worker * scratch);
    const int64_t slice = task % slices, first = task / slices * together;
    LanesSums<T> sums(machine, plan, carve_scratch<T>(&carver, plan), first,
                      std::min(together, parts - first),
                      totals + first * stride + slice * plan.taps() * plan.width, stride);
    for (int64_t i = plan.blocks * slice / slices; i < plan.blocks * (slice + 1) / slices; ++i) sums.add(i);
    sums.finish();
  });
}

template void filter_lanes<float>(const Machine&, const LanesPlan&, const FilterView&, const Epilogue&);
template void filter_lanes<double>(const Machine&, const LanesPlan&, const FilterView&, const Epilogue&);
template void correlate_lanes<float>(const Machine&, const LanesPlan&, int64_t, double*);
template void correlate_lanes<double>(const Machine&, const LanesPlan&, int64_t, double*);

}  // namespace fastconv::cpu
